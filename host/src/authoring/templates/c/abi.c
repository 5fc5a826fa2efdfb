#include "abi.h"

#include <stdlib.h>

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
