/* dataset.h: what the loader knows of a data set beyond sqz.h. */
#ifndef SQZ_DATA_DATASET_H
#define SQZ_DATA_DATASET_H

#include "../base/status.h"

/* image_size * image_size * 3. */
size_t sqz_dataset_picture_bytes(const sqz_dataset *dataset);

#endif
