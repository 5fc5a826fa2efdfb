#include "abi.h"

#include <stdlib.h>
#include <string.h>

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment,
                                                                size_t new_size) {
    (void)old_size;
    if (new_size == 0)
        return (void *)alignment;
    void *memory = realloc(old, new_size);
    if (memory == NULL)
        abort();
    return memory;
}

struct string string_of(const char *text) {
    struct string copy = {.length = strlen(text)};
    copy.bytes = cabi_realloc(NULL, 0, 1, copy.length);
    memcpy(copy.bytes, text, copy.length);
    return copy;
}
