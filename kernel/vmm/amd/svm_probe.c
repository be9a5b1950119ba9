/* SPDX-License-Identifier: BSD-2-Clause */
/* Can this processor's SVM be used? Reading the facts and deciding are apart, so that the decision,
 * firmware's lock included, is tested on the host. AMD APM vol. 2, "Enabling SVM". */
#include "vmm/amd/svm.h"

#include "lib/errno.h"
#include "lib/format.h"

#define VM_CR_LOCK   (1ul << 3)
#define VM_CR_SVMDIS (1ul << 4)

int svm_decide(const struct svm_probe *p, char *why, size_t why_size)
{
	if (!p->cpuid_svm || p->max_ext_leaf < 0x8000000a) {
		text_format(why, why_size,
			    "this processor offers no SVM: use one that has it, or enable nested "
			    "virtualisation in the machine below (QEMU: -cpu qemu64,+svm,+npt)");
		return -ENODEV;
	}
	if (p->vm_cr_readable && (p->vm_cr & VM_CR_SVMDIS)) {
		text_format(why, why_size, "SVM is switched off %s: %s",
			    p->vm_cr & VM_CR_LOCK ? "and locked by firmware" : "by firmware",
			    "enable \"SVM mode\" or \"virtualisation\" in the firmware's setup");
		return -ENODEV;
	}
	if (!(p->features & SVM_FEATURE_NPT)) {
		text_format(why, why_size,
			    "this processor's SVM has no nested paging, and shadow paging comes with "
			    "version 0.4 (QEMU: -cpu qemu64,+svm,+npt)");
		return -ENODEV;
	}
	if (p->nr_asids < 2) {
		text_format(why, why_size, "SVM offers %u address-space ids, 2 are needed", p->nr_asids);
		return -ENODEV;
	}
	return 0;
}
