#!/bin/bash
# Six methods on real speech with a small wav2vec 2.0, and one joint run and one mask transfer on synthetic speech: the runs
# behind docs/results.md. Started again, it trains only what is not done.
#
#   examples/speech/six-methods.sh FSDD TIMIT SYNTHETIC OUT [digits] [timit] [synthetic]
#
# FSDD is the Free Spoken Digit Dataset, TIMIT the sample of NLTK, SYNTHETIC a manifest as make_synthetic_lines.py reads it.
# LOPPER names the program, target/debug/lopper otherwise; PYTHON one that has transformers, python3 otherwise.
set -eu
fsdd=$1 timit=$2 synthetic=$3 out=$4
shift 4
lopper=${LOPPER:-target/debug/lopper} python=${PYTHON:-python3} here=examples/speech

run() { # NAME CONFIG [KEY=VALUE…]
    local name=$1 config=$2
    shift 2
    [ -e "$out/$name/record.json" ] && return
    "$lopper" run "$here/$config.toml" --out "$out/$name" --set run.store="$out/store" "$@" > "$out/$name.log" 2>&1 ||
        { echo "$name failed:" && tail -n 5 "$out/$name.log" && exit 1; }
    echo "$name"
}

make() { # NAME COMMAND…: the last argument of the command is where it writes
    [ -d "$out/$1" ] && return
    local name=$1
    shift
    rm -rf "$out/$name.part"
    "$@" && mv "$out/$name.part" "$out/$name"
}

mkdir -p "$out"
make small "$python" $here/make_small_wav2vec2.py --layer-norm "$out/small.part"
make digits "$python" $here/make_fsdd_strings.py --held-out theo,lucas --digits 1 4 --train 4000 "$fsdd" "$out/digits.part"

# There is no small public checkpoint: theta_0 is made here, from random weights on the digits of four speakers.
run scratch digits model.path="$out/small" data.path="$out/digits" model.mask_time_prob=0.15 train.updates=3000

# The six methods from there, on the same digits and on TIMIT's phones; a fresh head each, speakers held out.
six() { # TASK CONFIG SPARSITIES [KEY=VALUE…]
    local task=$1 config=$2 sparsities=$3
    shift 3
    set -- "$config" model.path="$out/scratch/model" data.path="$out/$task" "$@"
    run "$task-dense" "$@"
    for sparsity in $sparsities; do
        for method in mpi omp "parp prune.every=50" "parp-p prune.every=50" "imp prune.round_updates=100"; do
            # A method brings its options along.
            # shellcheck disable=SC2086
            run "$task-${method%% *}-$sparsity" "$@" prune.sparsity=$sparsity prune.method=$method
        done
    done
}

# Synthetic: three languages in one model, dense and with PARP; a mask found in Spanish, finetuned in French.
joint_and_transfer() {
    local config=(synthetic model.path="$out/scratch/model" "data.path=$out/synthetic/{language}")
    run joint-dense "${config[@]}"
    run joint-parp "${config[@]}" prune.method=parp prune.sparsity=0.5 prune.every=50
    run es-omp "${config[@]}" 'data.languages=["es"]' prune.method=omp prune.sparsity=0.5
    run fr-omp "${config[@]}" 'data.languages=["fr"]' prune.method=omp prune.sparsity=0.5
    run es-to-fr "${config[@]}" 'data.languages=["fr"]' prune.method=transfer prune.sparsity=0.5 \
        prune.mask="$out/es-omp/model/mask.safetensors"
    run es-to-fr-parp "${config[@]}" 'data.languages=["fr"]' prune.method=parp prune.sparsity=0.5 prune.every=50 \
        prune.initial="$out/es-omp/model/mask.safetensors"
}

[ $# -gt 0 ] || set -- digits timit synthetic
for part in "$@"; do
    case $part in
    digits) six digits digits "0.5 0.7" model.mask_time_prob=0.15 train.updates=400 train.learning_rate=5e-4 ;;
    timit)
        make timit "$python" $here/make_timit_phones.py "$timit" "$out/timit.part"
        six timit timit 0.5
        run timit-random-weights timit model.path="$out/small" data.path="$out/timit" train.learning_rate=1e-3
        ;;
    synthetic)
        make synthetic "$python" $here/make_synthetic_lines.py "$synthetic" "$out/synthetic.part"
        joint_and_transfer
        ;;
    *) echo "$part: digits, timit or synthetic was expected" && exit 2 ;;
    esac
done
