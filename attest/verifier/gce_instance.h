/* SPDX-License-Identifier: Apache-2.0 */
/* The instance identity extension of an AK certificate; see ak_chain.h for its layout. Pure. */
#pragma once

#include "ak_chain.h"

/**
 * @ret_has  false when the certificate has no such extension; then @ret is left alone
 * Returns 0, or -EACCES with TL_E_VERIFY_INSTANCE.
 */
int gce_instance_read(const X509 *cert, bool *ret_has, struct gce_instance *ret,
		      struct tl_error *err);
