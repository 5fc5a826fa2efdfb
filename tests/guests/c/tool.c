/* The functions of wit/world.wit. Arguments belong to the function; a result lies in memory that the
 * host reads before anything else is called, and that is let go afterwards. */

#include "abi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The most of a file that is counted. */
#define FILE_BYTES_MAX (64u << 20)

struct counts {
    uint64_t lines, words, bytes;
};

struct word_number {
    struct string word;
    uint32_t number;
};

/* `result<counts, string>`. */
struct counts_result {
    uint8_t is_error;
    union {
        struct counts counts;
        struct string error;
    };
};

/* `result<_, string>`. */
struct unit_result {
    uint8_t is_error;
    struct string error;
};

static int is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Counts on; `*in_word` says whether the text so far ended within a word. */
static void count(const char *text, size_t length, struct counts *counts, int *in_word) {
    counts->bytes += length;
    for (size_t i = 0; i < length; i++) {
        counts->lines += text[i] == '\n';
        counts->words += !is_space(text[i]) && !*in_word;
        *in_word = !is_space(text[i]);
    }
}

/* A path with a zero behind it; NULL if it holds one. Takes the argument. */
static char *c_path(char *bytes, size_t length) {
    char *path = memchr(bytes, 0, length) == NULL ? strndup(bytes, length) : NULL;
    if (length > 0)
        free(bytes);
    return path;
}

static struct unit_result unit_failure(int error) {
    return (struct unit_result){.is_error = 1, .error = string_of(strerror(error))};
}

EXPORT("word-count") struct counts *word_count(char *bytes, size_t length) {
    static struct counts result;
    int in_word = 0;
    result = (struct counts){0};
    count(bytes, length, &result, &in_word);
    if (length > 0)
        free(bytes);
    return &result;
}

static int by_bytes(const void *one, const void *other) {
    const struct string *a = one, *b = other;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->bytes, b->bytes, shorter);
    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

static int by_number(const void *one, const void *other) {
    const struct word_number *a = one, *b = other;
    return a->number != b->number ? (a->number < b->number) - (a->number > b->number)
                                  : by_bytes(&a->word, &b->word);
}

/* Where the words of a text lie in it, sorted. */
static struct string *sorted_words(char *bytes, size_t length, size_t *number) {
    struct counts counts = {0};
    int in_word = 0;
    count(bytes, length, &counts, &in_word);
    struct string *words = calloc(counts.words + 1, sizeof *words);
    if (words == NULL)
        abort();
    *number = 0;
    for (size_t i = 0; i < length; i++) {
        if (is_space(bytes[i]))
            continue;
        size_t start = i;
        while (i < length && !is_space(bytes[i]))
            i++;
        words[(*number)++] = (struct string){bytes + start, i - start};
    }
    qsort(words, *number, sizeof *words, by_bytes);
    return words;
}

struct word_list {
    struct word_number *words;
    size_t length;
};

static struct word_list listed;

EXPORT("frequent-words") struct word_list *frequent_words(char *bytes, size_t length, uint32_t at_most) {
    size_t number;
    struct string *words = sorted_words(bytes, length, &number);
    struct word_number *numbers = calloc(number + 1, sizeof *numbers);
    if (numbers == NULL)
        abort();
    size_t different = 0;
    for (size_t i = 0; i < number; i++) {
        if (i == 0 || by_bytes(&words[i - 1], &words[i]) != 0)
            numbers[different++].word = words[i];
        numbers[different - 1].number++;
    }
    qsort(numbers, different, sizeof *numbers, by_number);
    listed = (struct word_list){numbers, different < at_most ? different : at_most};
    for (size_t i = 0; i < listed.length; i++) {
        struct string *word = &numbers[i].word;
        char *copy = cabi_realloc(NULL, 0, 1, word->length);
        word->bytes = memcpy(copy, word->bytes, word->length);
    }
    free(words);
    if (length > 0)
        free(bytes);
    return &listed;
}

AFTER("frequent-words") void after_frequent_words(struct word_list *list) {
    for (size_t i = 0; i < list->length; i++)
        free(list->words[i].word.bytes);
    free(list->words);
}

EXPORT("count-file") struct counts_result *count_file(char *bytes, size_t length) {
    static struct counts_result result;
    static char buffer[16 << 10];
    char *path = c_path(bytes, length);
    FILE *file = path == NULL ? NULL : fopen(path, "rb");
    free(path);
    if (file == NULL) {
        result = (struct counts_result){.is_error = 1, .error = string_of(strerror(errno))};
        return &result;
    }
    result = (struct counts_result){0};
    int in_word = 0;
    size_t read;
    while (result.counts.bytes < FILE_BYTES_MAX && (read = fread(buffer, 1, sizeof buffer, file)) > 0)
        count(buffer, read, &result.counts, &in_word);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error != 0)
        result = (struct counts_result){.is_error = 1, .error = string_of(strerror(error))};
    return &result;
}

AFTER("count-file") void after_count_file(struct counts_result *result) {
    if (result->is_error)
        free(result->error.bytes);
}

EXPORT("write-file")
struct unit_result *write_file(char *path_bytes, size_t path_length, char *bytes, size_t length) {
    static struct unit_result result;
    char *path = c_path(path_bytes, path_length);
    FILE *file = path == NULL ? NULL : fopen(path, "wb");
    free(path);
    result = (struct unit_result){0};
    if (file == NULL) {
        result = unit_failure(errno);
    } else {
        int wrote = fwrite(bytes, 1, length, file) == length;
        if (fclose(file) != 0 || !wrote)
            result = unit_failure(errno);
    }
    if (length > 0)
        free(bytes);
    return &result;
}

AFTER("write-file") void after_write_file(struct unit_result *result) {
    if (result->is_error)
        free(result->error.bytes);
}

EXPORT("now") uint64_t now(void) {
    return (uint64_t)time(NULL);
}

EXPORT("random") uint64_t random_number(void) {
    uint64_t number = 0;
    if (getentropy(&number, sizeof number) != 0)
        abort();
    return number;
}

EXPORT("say") void say(char *out, size_t out_length, char *err, size_t err_length) {
    fwrite(out, 1, out_length, stdout);
    fflush(stdout);
    fwrite(err, 1, err_length, stderr);
    if (out_length > 0)
        free(out);
    if (err_length > 0)
        free(err);
}

EXPORT("spin") void spin(void) {
    for (volatile uint32_t round = 0;; round++) {
    }
}

EXPORT("sleep") void sleep_for(uint32_t milliseconds) {
    struct timespec time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    nanosleep(&time, NULL);
}

EXPORT("allocate") struct unit_result *allocate(uint32_t bytes) {
    static struct unit_result result;
    volatile char *memory = malloc(bytes);
    if (memory == NULL) {
        result = unit_failure(ENOMEM);
        return &result;
    }
    for (uint32_t i = 0; i < bytes; i += 4096)
        memory[i] = 1;
    free((void *)memory);
    result = (struct unit_result){0};
    return &result;
}

AFTER("allocate") void after_allocate(struct unit_result *result) {
    if (result->is_error)
        free(result->error.bytes);
}

EXPORT("wild-read") uint32_t wild_read(void) {
    return *(volatile uint32_t *)(UINT32_MAX - 3);
}
