"""``rejoinder demo``: one answer, two cut connections, two nodes, and a proof that nothing was lost or came twice.

``python -m rejoinder.demo --svg docs/demo.svg`` also keeps a picture of the run.
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from broker.errors import RejoinderError
from broker.record import Record
from rejoinder.backoff import Patience
from rejoinder.balancer import Backend, Balancer
from rejoinder.client import Client
from rejoinder.demo_view import Check, DemoView
from rejoinder.dev import DevError, DevStack
from rejoinder.exits import ExitCode
from rejoinder.ledger import Ledger, digest
from rejoinder.streaming import Lost, Note, Opened

MODEL = "demo/demo-1"
PROMPT = "Tell me how an answer survives a cut connection."
TOKENS = 130
RATE = 42.0
CUT_AFTER = (30, 78)
"""Log entries received after which the connection is cut: while the answer is still being written, even if a
reconnect takes as long as the client's back-off may make it."""
_LIMIT_S = 30.0
_WIDTH = 92


@dataclass(slots=True)
class Run:
    """What one run has seen."""

    ledger: Ledger = field(default_factory=Ledger)
    served: list[str] = field(default_factory=list[str])
    """The node of each connection, in order."""
    drops: int = 0
    record: Record | None = None


async def perform(client: Client, wires: dict[str, Balancer], view: DemoView) -> Run:
    """Submit, read, cut twice, read to the end.

    Args:
        client: takes another of the wires for every connection.
        wires: node name -> the relay that its connections run through, and that is cut.
        view: is told of everything.

    Raises:
        RejoinderError: the client could not read the answer to its end.
    """
    run = Run()
    clock = asyncio.get_running_loop().time
    lost_at: float | None = None

    def on_note(note: Note) -> None:
        nonlocal lost_at
        match note:
            case Lost():
                lost_at = lost_at or clock()
                view.cut(stream.last_event_id or "", note.reason)
            case Opened():
                run.served.append(note.node)
                view.opened(note.node, note.after, None if lost_at is None else clock() - lost_at)
                lost_at = None

    options = {"tokens": TOKENS, "rate": RATE}
    # Word for word rather than in time windows: one log entry is then about one token, and the arithmetic is visible.
    record = await client.submit(MODEL, PROMPT, provider_options=options, delivery={"batch": "none"})
    view.submitted(record.id, MODEL, TOKENS, RATE)
    async with client.stream(record.id, on_note=on_note) as stream:
        async for event in stream:
            run.ledger.take(event)
            view.event(event)
            if run.drops < len(CUT_AFTER) and run.ledger.entries >= CUT_AFTER[run.drops] and not event.terminal:
                run.drops += 1 if wires[event.node].cut() else 0
    run.record = await client.wait(record.id, timeout_s=_LIMIT_S)
    return run


def checks(run: Run) -> list[Check]:
    """The proof, line by line. The words ``gaps 0`` and ``duplicates 0`` are part of the contract."""
    ledger, record = run.ledger, run.record
    output = record.output.text if record is not None and record.output is not None else ""
    usage = record.usage if record is not None else None
    timing = record.timing if record is not None else None
    tokens = usage.output_tokens if usage is not None else None
    ttft_ms = timing.ttft_ms if timing is not None else None
    other = all(one != two for one, two in zip(run.served, run.served[1:], strict=False))
    nodes = len(set(run.served))
    streamed, recorded = digest(ledger.text), digest(output)
    completed = ledger.end is not None and ledger.end.type == "generation.completed"
    return [
        Check(ledger.gaps == 0, f"gaps {ledger.gaps}", f"entries 1 to {ledger.entries}, by the ids"),
        Check(ledger.duplicates == 0, f"duplicates {ledger.duplicates}", "no entry came twice"),
        Check(run.drops == len(CUT_AFTER), f"drops {run.drops}", "TCP resets in mid-stream"),
        Check(nodes > 1 and other, f"nodes used {nodes}", " → ".join(run.served)),
        Check(tokens == TOKENS and completed, f"tokens {tokens}", "as the provider counted them"),
        Check(bool(output) and streamed == recorded, "text equal", f"sha256 {streamed} read, {recorded} kept"),
        Check(ttft_ms is not None, f"TTFT {ttft_ms} ms", "from submit to the first token"),
    ]


async def demo(console: Console) -> ExitCode:
    """Start everything, run, show the proof. Answers 0 only if every line of the proof holds."""
    view = DemoView(console)
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        async with asyncio.timeout(_LIMIT_S), AsyncExitStack() as owned:
            stack = await owned.enter_async_context(DevStack(isolated=True))
            wires = {name: await owned.enter_async_context(_wire(url)) for name, url in stack.nodes.items()}
            patience = Patience(give_up_after_s=_LIMIT_S / 2)
            client = await owned.enter_async_context(Client([wire.url for wire in wires.values()], patience=patience))
            view.ready(clock() - started)
            proof = checks(await perform(client, wires, view))
            view.proof(proof, clock() - started)
    except TimeoutError:
        view.failure(f"not done after {_LIMIT_S:.0f} s")
        return ExitCode.FAILED
    except (DevError, RejoinderError) as error:
        view.failure(str(error))
        return ExitCode.FAILED
    return ExitCode.OK if all(check.holds for check in proof) else ExitCode.FAILED


def _wire(url: str) -> Balancer:
    parts = urlsplit(url)
    return Balancer([Backend(parts.hostname or "", parts.port or 0)])


def main(arguments: list[str] | None = None) -> ExitCode:
    """Run the demo; ``["--svg", FILE]`` keeps a picture of it."""
    arguments = arguments or []
    picture = Path(arguments[1]) if arguments[:1] == ["--svg"] and len(arguments) > 1 else None
    if picture is None:
        console = Console(highlight=False)
    else:
        console = Console(
            highlight=False, record=True, width=_WIDTH, force_terminal=True, color_system="truecolor", no_color=False
        )
    try:
        code = asyncio.run(demo(console))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if picture is not None:
        # Its fonts would be fetched from elsewhere: a picture must stand alone.
        drawn = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="rejoinder demo"), flags=re.DOTALL)
        picture.write_text(drawn)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
