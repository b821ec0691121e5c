#!/bin/bash
# The six methods on six tasks of GLUE at 70 %, and PARP, OMP and MPI at 30, 50 and 90 % on MRPC and CoLA: the runs behind
# docs/results.md. Started again, it trains only what is not done.
#
#   examples/glue/six-methods.sh GLUE OUT [TASK…]
#
# GLUE has the folders MRPC, CoLA, WNLI, RTE, SST-2 and STS-B; OUT gets a directory a run, and the stages they share.
# LOPPER names the program, target/debug/lopper otherwise.
set -eu
glue=$1 out=$2
shift 2
lopper=${LOPPER:-target/debug/lopper}
declare -A folder=([mrpc]=MRPC [cola]=CoLA [wnli]=WNLI [rte]=RTE [sst-2]=SST-2 [sts-b]=STS-B)
# Updates of 16 examples: an epoch of MRPC and CoLA, two of WNLI, less of the others.
declare -A updates=([mrpc]=230 [cola]=535 [wnli]=80 [rte]=100 [sst-2]=200 [sts-b]=180)
declare -A more=([cola]="data.max_length=32" [sst-2]="data.max_length=48 data.limit_train=3200")

run() { # TASK METHOD SPARSITY [KEY=VALUE…]
    local task=$1 method=$2 sparsity=$3
    shift 3
    local name=$task-$method-$sparsity
    [ -e "$out/$name/record.json" ] && return
    # shellcheck disable=SC2086
    "$lopper" run examples/glue/minilm-short.toml --out "$out/$name" --set run.store="$out/store" \
        model.prune_pooler=false train.batch_size=16 train.updates="${updates[$task]}" data.task="$task" \
        data.path="$glue/${folder[$task]}" ${more[$task]:-} prune.method="$method" prune.sparsity="$sparsity" "$@" \
        > "$out/$name.log" 2>&1 || { echo "$name failed:" && tail -n 5 "$out/$name.log" && exit 1; }
    echo "$name"
}

mkdir -p "$out"
[ $# -gt 0 ] || set -- mrpc cola wnli rte sst-2 sts-b
for task in "$@"; do
    run "$task" dense 0
    run "$task" mpi 0.7
    run "$task" omp 0.7
    run "$task" parp 0.7 prune.every=50
    run "$task" rp 0.7
    run "$task" parp-p 0.7 prune.every=50
    run "$task" imp 0.7 prune.round_updates=25
    [ "$task" = mrpc ] || [ "$task" = cola ] || continue
    for sparsity in 0.3 0.5 0.9; do
        run "$task" mpi $sparsity
        run "$task" omp $sparsity
        run "$task" parp $sparsity prune.every=50
    done
done
