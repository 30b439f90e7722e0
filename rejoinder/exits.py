"""How the command ends: its exit codes, and for every error a sentence and the next step.

====  =============================================================================================================
code  meaning
====  =============================================================================================================
0     done: the generation completed, or what was asked for was done
1     the generation failed or was cancelled; or `demo`, `dev` could not do its work
2     wrong usage, or a setting that does not hold
3     the server can't be reached, or nothing moved for too long
4     the server refused (its 4xx and lasting 5xx answers)
5     what was written to a pipe is void (a takeover started over), or the stream was not to be trusted
130   detached by Ctrl-C (143: by SIGTERM): the generation goes on
141   the reader of standard output went away
====  =============================================================================================================
"""

from __future__ import annotations

from enum import IntEnum

from broker.errors import InvalidPosition, RejoinderError
from rejoinder.failures import GaveUp, Refused, StreamBroken, Unreachable, VoidOutput


class ExitCode(IntEnum):
    """See the table above."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    VOID = 5
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


_NEXT_STEPS = {
    "unreachable": "start a server with `rejoinder dev`, or name another with --url or REJOINDER_URL",
    "no_progress": "the generation goes on: `rejoinder tail` later, or look at the server's /readyz",
    "stream_broken": "check that --url is a Rejoinder server and that no proxy in between changes its answers",
    "void_output": "`rejoinder get ID --text` has the whole answer once it has ended, `rejoinder tail ID` streams it",
    "unauthorized": "give a key with --api-key or REJOINDER_API_KEY",
    "forbidden": "this key or token does not open that; use the tenant's key",
    "not_found": "`rejoinder ls` shows what there is",
    "unknown_model": "GET /v1/models on the server lists the models it knows",
    "log_expired": "its text has passed its retention; `rejoinder get` still shows what became of it",
    "idempotency_conflict": "use another --key for another request",
    "bad_event_id": "an event id looks like 1763678000123-41",
    "queue_full": "try again in a moment, or start more workers",
    "log_unavailable": "the server has lost its Redis; try again in a moment",
    "provider_auth": "give the worker the provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY) and submit again",
    "worker_lost": "its workers died; submit it again",
}


def exit_code(error: RejoinderError) -> ExitCode:
    """What the process ends with for this error."""
    match error:
        case Unreachable() | GaveUp():
            return ExitCode.UNREACHABLE
        case Refused():
            return ExitCode.REFUSED
        case StreamBroken() | VoidOutput():
            return ExitCode.VOID
        case InvalidPosition():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED


def next_step(code: str, *, retry_after_s: float | None = None) -> str | None:
    """What to do about an error with this code; ``None`` where nothing general can be said."""
    if retry_after_s is not None and code not in {"unauthorized", "forbidden"}:
        return f"try again in {retry_after_s:g} s"
    return _NEXT_STEPS.get(code)
