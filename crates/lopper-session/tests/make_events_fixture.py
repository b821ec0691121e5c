"""Writes fixtures/tensorboard/: an event file by TensorBoard itself, which `src/tensorboard/record.rs` must equal to the byte.

Made with Python 3.11.7 and

    pip install tensorboard==2.21.0 protobuf==7.36.2
    python crates/lopper-session/tests/make_events_fixture.py
"""

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(time: float, step: int, **values: float) -> Event:
    return Event(
        wall_time=time,
        step=step,
        summary=Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]),
    )


EVENTS = [
    Event(wall_time=1732816371.25, file_version="brain.Event:2"),
    Event(wall_time=1732816371.5, session_log=SessionLog(status=SessionLog.START)),
    scalars(1732816372.0, 0, **{"measures/moved": 0.0}),
    scalars(1732816373.0, 1, **{"training/loss": 0.7, "training/learning_rate": 2e-5}),
    scalars(1732816374.0, 300, **{"evaluation/validation/f1": 1.0, "größe": -1e30}),
    scalars(1732816375.0, 1 << 40, **{"training/loss": float("nan"), "training/norm": float("inf")}),
    scalars(1.0, 127, **{"t" * 200: 3.0}),
]

out = Path(__file__).parent / "fixtures/tensorboard/events.out.tfevents.1732816371.tensorboard"
out.parent.mkdir(exist_ok=True)
with out.open("wb") as file:
    writer = RecordWriter(file)
    for event in EVENTS:
        writer.write(event.SerializeToString(deterministic=True))
    writer.flush()
