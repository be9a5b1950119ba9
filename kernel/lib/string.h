/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory and string functions, with the contracts of ISO C where the names are ISO C's. On the
 * host the C library's own are used. */
#pragma once

#include "lib/types.h"

void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);

/* str_copy - copy @src into the @size bytes at @dst, always terminated; false if it was cut. */
bool str_copy(char *dst, const char *src, size_t size);
bool str_starts(const char *s, const char *prefix);
