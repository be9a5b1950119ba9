/* SPDX-License-Identifier: BSD-2-Clause */
/* In libFuzzer's place: give the target each file of a folder, in a program that counts lines. */
#include <dirent.h>

#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes);

static void replay(const char *folder, const char *name)
{
	static u8 data[1 << 20];
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	if (!file)
		return;
	LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof(data), file));
	fclose(file);
}

int main(int argc, char **argv)
{
	DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
	struct dirent *entry;

	if (!folder) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	LLVMFuzzerInitialize(&argc, &argv);
	while ((entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			replay(argv[1], entry->d_name);
	closedir(folder);
	return 0;
}
