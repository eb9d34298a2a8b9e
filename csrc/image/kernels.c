/* kernels.c: which of the tables in kernels/ this CPU runs. */
#include "kernels/kernels.h"

sqz_status sqz_image_kernels_find(const sqz_image_kernels **kernels, sqz_error *error) {
    sqz_isa isa;
    SQZ_TRY(sqz_cpu_isa(&isa, error));
    *kernels = &sqz_image_kernels_baseline;
#if SQZ_IMAGE_KERNELS_X86
    if (isa == SQZ_ISA_AVX2)
        *kernels = &sqz_image_kernels_avx2;
    else if (isa == SQZ_ISA_AVX512)
        *kernels = &sqz_image_kernels_avx512;
#endif
    return SQZ_OK;
}
