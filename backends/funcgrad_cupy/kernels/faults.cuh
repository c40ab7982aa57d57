// What is wrong with the values that kernels are given: noted, not raised; the host looks later.
#pragma once
#include "prelude.cuh"

// The first fault that is noted stays. Launches run one after another, so it is the first in the order of the program.
struct Faults {
    index_t *first;   // the least position of a wrong element that a launch has found; as it began, NO_FAULT
    index_t *record;  // memory that the host sees: the number of the check, 0 if nothing is noted, the axis, the index
    index_t number;   // of this check, from 1
};

constexpr index_t NO_FAULT = 0x7fffffffffffffffLL;

// By one thread of a launch.
__device__ inline void note(const Faults &faults, index_t axis, index_t index) {
    if (faults.record[0]) return;
    faults.record[1] = axis;
    faults.record[2] = index;
    __threadfence_system();
    faults.record[0] = faults.number;
}
