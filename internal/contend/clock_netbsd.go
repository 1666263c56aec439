package contend

// clockMonotonic is CLOCK_MONOTONIC of time.h, which x/sys does not have here.
const clockMonotonic = 3
