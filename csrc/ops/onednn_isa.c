/* onednn_isa.c: see onednn_isa.h. */
#include "onednn_isa.h"
#include "onednn_library.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* Whether the environment holds oneDNN below AVX2, which dnnl_set_max_cpu_isa would undo. */
static bool environment_refuses_avx2(void) {
    const char *cap = getenv("ONEDNN_MAX_CPU_ISA");
    if (!cap)
        cap = getenv("DNNL_MAX_CPU_ISA");
    return cap && (strcasecmp(cap, "SSE41") == 0 || strcasecmp(cap, "AVX") == 0);
}

bool sqz_onednn_isa(sqz_isa *isa, char reason[256]) {
    static const dnnl_cpu_isa_t names[] = {[SQZ_ISA_AVX2] = dnnl_cpu_isa_avx2,
                                           [SQZ_ISA_AVX512] = dnnl_cpu_isa_avx512_core};
    sqz_error error;
    sqz_isa own;
    if (sqz_cpu_isa(&own, &error) != SQZ_OK) {
        snprintf(reason, 256, "%.255s", error.message);
        return false;
    }
    /* Where SQZ_ISA holds the kernels below what oneDNN would take, hold oneDNN there too: the
     * block size is one for both. Before anything else is asked of oneDNN: the first question, be
     * it dnnl_get_effective_cpu_isa, settles its instruction set for good. */
    if (own == SQZ_ISA_AVX2 && !environment_refuses_avx2())
        sqz_dnnl.set_max_cpu_isa(dnnl_cpu_isa_avx2);
    dnnl_cpu_isa_t effective = sqz_dnnl.get_effective_cpu_isa();
    for (int i = SQZ_ISA_AVX512; i >= SQZ_ISA_AVX2; i--) {
        if ((effective & names[i]) != names[i])
            continue;
        if (i > (int)own)
            break;
        *isa = (sqz_isa)i;
        return true;
    }
    if (own >= SQZ_ISA_AVX2 && effective > dnnl_cpu_isa_avx2)
        snprintf(reason, 256,
                 "oneDNN was in use before and cannot be held to %s any more (its cap is 0x%x)",
                 sqz_isa_name(own), (unsigned)effective);
    else
        snprintf(reason, 256,
                 "without AVX2 oneDNN's backward convolutions are reference code, about 100 times "
                 "too slow (CPU and SQZ_ISA allow %s, oneDNN's own cap is 0x%x)",
                 sqz_isa_name(own), (unsigned)effective);
    return false;
}
