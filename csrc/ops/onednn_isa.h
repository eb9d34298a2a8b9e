/* onednn_isa.h: which instruction set the oneDNN backend works with. */
#ifndef SQZ_OPS_ONEDNN_ISA_H
#define SQZ_OPS_ONEDNN_ISA_H

#include "../base/cpu.h"

/* The widest set that both the CPU's cap (SQZ_ISA) and oneDNN's (ONEDNN_MAX_CPU_ISA) allow, AVX2 at
 * least; false where there is none, and `reason` says why. To be asked once, of a oneDNN that is
 * loaded, before anything else is asked of it. */
bool sqz_onednn_isa(sqz_isa *isa, char reason[256]);

#endif
