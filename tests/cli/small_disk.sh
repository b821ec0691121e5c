# A run on a disk of sixteen megabytes that fills up and turns read-only. Called by crash.rs in a mount namespace of its
# own, in a fixture's directory, as `sh small_disk.sh LOPPER SETTINGS…`. What every attempt answers goes to disk.N.code and
# disk.N.err; `outcome/` is what the last attempt ends with.
set -eu
lopper=$1
shift
mkdir disk
mount -t tmpfs -o size=16m small disk

attempt() { # NUMBER COMMAND…: what the command answers
    number=$1
    shift
    code=0
    "$@" > "disk.$number.out" 2> "disk.$number.err" || code=$?
    echo "$code" > "disk.$number.code"
}
until_checkpoint() { # PROCESS: waits for its first checkpoint
    while kill -0 "$1" 2> /dev/null && ! [ -e disk/run/out/checkpoints/latest ]; do sleep 0.01; done
}
run() { "$lopper" run run.toml --json --out disk/run/out --set run.store=disk/run/store "$@"; }

# 1: too full before anything is trained.
dd if=/dev/zero of=disk/filler bs=1k count=15500 2> /dev/null
attempt 1 run "$@"
rm disk/filler

# 2: fills up while training.
attempt 2 run "$@" &
until_checkpoint $!
dd if=/dev/zero of=disk/filler bs=64k 2> /dev/null || true
wait
rm disk/filler

# 3: killed, and read-only when it is to go on.
rm -f disk.3.*
attempt killed run "$@" &
until_checkpoint $!
pkill -9 -x -P $! "$(basename "$lopper")" || true
wait
mount -o remount,ro disk
attempt 3 run "$@"
mount -o remount,rw disk

# 4: nothing in its way any more.
attempt 4 run "$@"
cp -r disk/run outcome
