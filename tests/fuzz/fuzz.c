/* SPDX-License-Identifier: BSD-2-Clause */
/* Between libFuzzer, or the replay of a corpus, and a target. */
#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes);

/* A failed assertion of the fixtures, which know cmocka, is a crash. */
int LLVMFuzzerInitialize(unused int *argc, unused char ***argv)
{
	return setenv("CMOCKA_TEST_ABORT", "1", 1);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes)
{
	struct input in = {data, data + bytes};

	fuzz_one(&in);
	return 0;
}
