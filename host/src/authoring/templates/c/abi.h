/* The canonical ABI of the component model, as far as this tool needs it: how arguments and results lie in memory. */
#ifndef ABI_H
#define ABI_H

#include <stddef.h>
#include <stdint.h>

/* A function of the interface `text`, under the name that the linker looks for. */
#define EXPORT(name) __attribute__((export_name("tools:{{name}}/text@0.1.0#" name)))

/* Memory that the host asks for, to put arguments in. Never gives NULL. */
void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t new_size);

#endif
