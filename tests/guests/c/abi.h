/* The canonical ABI of the component model, as far as this tool needs it: how arguments and results
 * lie in memory. `wit-bindgen c` would make the same; written by hand it shows that nothing is needed
 * but a C compiler. */
#ifndef ABI_H
#define ABI_H

#include <stddef.h>
#include <stdint.h>

/* A function of the interface `text`, under the name that the linker looks for. */
#define EXPORT(name) __attribute__((export_name("test:c-tool/text@0.1.0#" name)))
/* What is called when the host has read a result. */
#define AFTER(name) __attribute__((export_name("cabi_post_test:c-tool/text@0.1.0#" name)))

/* A string of WIT: bytes that belong to whoever holds it, without a zero behind them. */
struct string {
    char *bytes;
    size_t length;
};

/* Memory that the host asks for, to put arguments in. Never gives NULL. */
void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t new_size);

/* A copy of a text. */
struct string string_of(const char *text);

#endif
