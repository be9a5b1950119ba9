/* SPDX-License-Identifier: BSD-2-Clause */
/* The one place that knows which vendors there are. */
#include "vmm/hvm.h"

#include "cpu/features.h"
#include "lib/format.h"
#include "vmm/amd/svm.h"

const struct hvm_ops *hvm;
char hvm_why_not[200];

void hvm_init(void)
{
	struct svm_probe probe;

	if (features.vmx && !features.svm) {
		text_format(hvm_why_not, sizeof(hvm_why_not),
			    "Intel VMX comes with version 0.5: use a processor with AMD SVM");
		return;
	}
	svm_probe_read(&probe);
	if (svm_decide(&probe, hvm_why_not, sizeof(hvm_why_not)) == 0)
		hvm = &svm_ops;
}
