#!/bin/bash
# One sweep, four ways, on one machine: by `lopper run`; by two `lopper work` after the process that began it was killed; by a
# job array of a real Slurm, of which one worker is killed; and by one whose tasks are told that their time is up. All masks and
# metrics must be the same to the last bit. Then what Slurm makes of a worker that is told to end.
#
#     tests/slurm/one_node.sh [LOPPER]        by default target/debug/lopper (`cargo xtask demo` builds it)
#
# No part of `cargo xtask test`: it needs the network once, for Debian's packages of Slurm. They are unpacked into target/slurm
# and not installed. Runs on Debian 12 and its kin, as any user. Takes about three minutes.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
lopper=$(realpath "${1:-$top/target/debug/lopper}")
export LD_LIBRARY_PATH="${LIBTORCH:-$top/.libtorch/torch}/lib"
export OMP_NUM_THREADS=1
packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins libhwloc15 libnuma1 libmunge2 libpmix2
  libevent-core-2.1-7 libevent-pthreads-2.1-7)
unpacked=$top/target/slurm
work=$(mktemp -d)
daemons=()

clean_up() {
  code=$?
  trap - EXIT
  if [ ${#daemons[@]} -gt 0 ]; then
    "$work/bin/scancel" --quiet --user "$(id -un)" 2>/dev/null || true
    sleep 1
    kill "${daemons[@]}" 2>/dev/null || true
    wait "${daemons[@]}" 2>/dev/null || true
  fi
  if [ "$code" -eq 0 ]; then
    rm -rf "$work"
  else
    tail -n 3 "$work/the sweep"/*.log >&2 || true
    echo "FAILED ($code); what there is lies in $work" >&2
  fi
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() { printf '%7.1f s  %s\n' "$(bc <<< "$(date +%s.%N) - $began")" "$*"; }
fail() { echo "error: $*" >&2; exit 1; }
until_true() { # SECONDS WHAT COMMAND…: waits until the command succeeds
  local left=$(($1 * 10)) what=$2
  shift 2
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || fail "$what did not come about"
    sleep 0.1
  done
}
began=$(date +%s.%N)

# Slurm, unpacked.
if ! [ -e "$unpacked/usr/sbin/slurmd-wlm" ]; then
  mkdir -p "$unpacked/packages"
  (cd "$unpacked/packages" && apt-get download "${packages[@]}")
  for package in "$unpacked"/packages/*.deb; do dpkg -x "$package" "$unpacked"; done
fi
libraries=$unpacked/usr/lib/x86_64-linux-gnu
node=$(hostname -s)
mkdir -p "$work"/{bin,state,spool}
cat > "$work/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
# Seconds until a task that was queued again may begin.
AuthInfo=cred_expire=5
PluginDir=$libraries/slurm-wlm
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName=$node NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
for command in sbatch scancel scontrol sinfo squeue; do
  cat > "$work/bin/$command" <<SH
#!/bin/bash
export SLURM_CONF=$work/slurm.conf LD_LIBRARY_PATH=$libraries:$libraries/slurm-wlm
exec $unpacked/usr/bin/$command "\$@"
SH
done
chmod +x "$work"/bin/*
export PATH="$work/bin:$PATH"
start() { # NAME ARGUMENT…
  local name=$1
  shift
  SLURM_CONF=$work/slurm.conf LD_LIBRARY_PATH=$libraries:$libraries/slurm-wlm \
    "$unpacked/usr/sbin/$name-wlm" -D "$@" > "$work/$name.out" 2>&1 &
  daemons+=($!)
}
start slurmctld
start slurmd -d "$unpacked/usr/sbin/slurmstepd-wlm"
is_idle() { [ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ]; }
until_true 60 "an idle node" is_idle
say "$(sinfo --version), one node, idle"

# A sweep of twelve cells over six methods; its directory has a space in its name.
cd "$work"
mkdir "the sweep" && cd "the sweep"
python3 "$top/tests/slurm/tiny_model.py" .
cat > sweep.toml <<'TOML'
device = "cpu"
[model]
path = "model"
[data]
name = "glue"
task = "sst-2"
path = "SST-2"
[train]
updates = 150
batch_size = 16
learning_rate = 1e-3
[checkpoint]
every = 20
[sweep]
seeds = [57]
over.prune.sparsity = [0.3, 0.5]
[sweep.over.method]
rp = { prune.method = "rp" }
mpi = { prune.method = "mpi" }
omp = { prune.method = "omp" }
imp = { prune.method = "imp" }
parp = { prune.method = "parp", prune.every = 10 }
parp-p = { prune.method = "parp-p", prune.every = 10 }
TOML
cells=12
of() { echo --out "$1" --set "run.store=$1-store"; }

# What a sweep came to: every mask's bytes, and the metrics in its record.
results() {
  for cell in "$1"/cells/*/; do
    name=$(basename "$cell")
    # A mask's file names the method that found it first, which may be any of those that share it: the tensors alone.
    python3 - "$cell" <<'PY' | sed "s/^/$name /"
import hashlib, json, struct, sys
from pathlib import Path
cell = Path(sys.argv[1])
mask = (cell / "mask.safetensors").read_bytes()
length = struct.unpack("<Q", mask[:8])[0]
header = json.loads(mask[8:8 + length])
header.pop("__metadata__", None)
print("mask", hashlib.sha256(json.dumps(header, sort_keys=True).encode() + mask[8 + length:]).hexdigest())
record = json.loads((cell / "record.json").read_text())
print("metrics", json.dumps(record["metrics"], sort_keys=True), record["sparsity"])
PY
  done
}
compare() { # DIRECTORY WHAT
  [ -s "$1/report.html" ] || fail "$2 wrote no report"
  results "$1" > "$1.txt"
  [ "$(grep -c ' mask ' "$1.txt")" -eq $cells ] || fail "$2 has not $cells masks"
  cmp one.txt "$1.txt" || fail "$2 differs"
  say "$2: $cells masks and their metrics are those of one process, bit for bit"
}

# By one process.
from=$(date +%s.%N)
"$lopper" run sweep.toml $(of one) > one.log 2>&1
results one > one.txt
say "one process: $(sed -n 's/.*: trained/trained/p' one.log)"
sha256sum one.txt

# By two workers; whoever began it is killed.
"$lopper" run sweep.toml $(of two) > two.log 2>&1 &
starter=$!
has_begun() { compgen -G "$1/claims/*.json" > /dev/null; }
until_true 60 "a first cell" has_begun two
kill -9 $starter
wait $starter 2>/dev/null || true
"$lopper" work two > two-1.log 2>&1 &
first=$!
"$lopper" work two > two-2.log 2>&1 &
second=$!
wait $first || fail "the first worker"
wait $second || fail "the second worker"
compare two "two workers, after the first process was killed"

# By a job array; one worker is killed. Slurm's libraries are on the path here, and must not be on a job's.
submit() { # DIRECTORY OPTION…
  local directory=$1
  shift
  LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$libraries:$libraries/slurm-wlm \
    "$lopper" --json submit sweep.toml --engine slurm --workers 2 $(of "$directory") -- --time=10 "$@" 2> "$directory.log" |
    sed -n 's/.*"job": "\(.*\)".*/\1/p'
}
tasks() { squeue --noheader --array --job "$1" --state all --format '%T' 2>/dev/null | sort | uniq -c | xargs; }
are() { [ "$(tasks "$1")" = "$2" ]; }
has_ended() { [ -z "$(squeue --noheader --job "$1" 2>/dev/null)" ]; }
field() { scontrol show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -1; }
holder() { sed -n 's/.*"process": \([0-9]*\).*/\1/p' "$1"/claims/*.json 2>/dev/null | sort -u | head -1; }
has_two() { [ "$(sed -n 's/.*"process": \([0-9]*\).*/\1/p' "$1"/claims/*.json 2>/dev/null | sort -u | wc -l)" -eq 2 ]; }

mkdir -p three
submitted=$(date +%s.%N)
job=$(submit three)
until_true 60 "two tasks at work" has_two three
say "job $job: two tasks at work $(bc <<< "$(date +%s.%N) - $submitted") s after lopper submit was started"
victim=$(holder three)
path=$(tr '\0' '\n' < "/proc/$victim/environ" | sed -n 's/^LD_LIBRARY_PATH=//p')
[ "$path" = "$LD_LIBRARY_PATH" ] || fail "a job's LD_LIBRARY_PATH is $path"
kill -9 "$victim"
until_true 300 "the end of job $job" has_ended "$job"
say "job $job, worker $victim killed: tasks $(tasks "$job")"
are "$job" "1 COMPLETED 1 FAILED" || fail "one task of two was killed"
compare three "a job array, one worker killed"

# By a job array whose tasks are told that their time is up: they save, and are queued again.
mkdir -p four
job=$(submit four)
until_true 60 "two tasks at work" has_two four
# So that two minutes are left of it.
scontrol update "job=$job" timelimit=2
was_restarted() { for task in "$@"; do [ "$(field "${job}_$task" Restarts)" = 1 ] || return 1; done; }
until_true 120 "tasks that are queued again" was_restarted 0 1
scontrol update "job=$job" timelimit=10
grep -q "interrupted" four/logs/*.log || fail "a worker did not say that it was interrupted"
say "job $job, told that its time is up: tasks $(tasks "$job")"
until_true 300 "the end of job $job" has_ended "$job"
say "job $job: tasks $(tasks "$job")"
are "$job" "2 COMPLETED" || fail "both tasks end well"
compare four "a job array that was queued again"

# A task that Slurm queues again has saved. A job that is cancelled is not queued again, and the same submission goes on.
mkdir -p five
job=$(submit five)
until_true 60 "two tasks at work" has_two five
scontrol requeue "${job}_0"
until_true 60 "a task that is queued again" was_restarted 0
until_true 60 "what the first task says of it" grep -q interrupted five/logs/"${job}_0.log"
until_true 60 "two tasks at work" has_two five
say "job $job, the first task queued again by scontrol: tasks $(tasks "$job")"
scancel "$job"
until_true 60 "the end of job $job" has_ended "$job"
say "job $job, cancelled: tasks $(tasks "$job")"
are "$job" "2 CANCELLED" || fail "both tasks are cancelled"
grep -q '"interrupted"' five/cells/*/status.json || fail "nothing was saved"
job=$(submit five)
until_true 300 "the end of job $job" has_ended "$job"
compare five "a job array that was cancelled and submitted again"

# What Slurm makes of a worker without our script that is told to end.
mkdir -p six
job=$(submit six --hold)
scancel "$job"
job=$(sbatch --parsable --output=six/plain.log --wrap "export LD_LIBRARY_PATH=$LD_LIBRARY_PATH; exec '$lopper' work six")
until_true 60 "a worker" has_begun six
kill -TERM "$(holder six)"
until_true 60 "the end of job $job" has_ended "$job"
say "a plain worker that gets SIGTERM: $(field "$job" JobState), exit code $(field "$job" ExitCode), restarts $(field "$job" Restarts)"
[ "$(field "$job" ExitCode)" = 130:0 ] || fail "its exit code is 130"

# An array that is too large.
seeds=$(seq -s, 1 200)
if "$lopper" submit sweep.toml --engine slurm --workers 1002 $(of seven) --set "sweep.seeds=[$seeds]" > seven.log 2>&1; then
  fail "an array of 1002 tasks was taken"
fi
say "1002 tasks: $(tail -1 seven.log)"
say "all is as it should be"
