/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of the machine. Everything that schedules takes time as a value (deadline.h). */
#pragma once

#include <stdint.h>

uint64_t tl_clock_mono_ms(void);     /* CLOCK_BOOTTIME: counts suspended time too */
int64_t tl_clock_real_s(void);       /* seconds since the epoch */
int64_t tl_clock_real_ms(void);      /* milliseconds since the epoch */
uint64_t tl_clock_random(void);      /* uniform 64 bits from the kernel; for jitter, not for keys */
void tl_clock_sleep_ms(uint64_t ms); /* blocks; a signal doesn't end it */
