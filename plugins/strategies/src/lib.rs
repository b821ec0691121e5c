//! The pruning methods: dense, RP, MPI, OMP, IMP, PARP and PARP-P, one file each.
