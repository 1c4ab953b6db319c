"""What must hold, whatever struck: each with a name and a sentence."""

from __future__ import annotations

from enum import StrEnum


class Invariant(StrEnum):
    """What the simulator checks, at each entry or at the end."""

    ENDS = "every execution ends, or waits for a person"
    SAME_OUTCOME = "the outcome equals that of a run in which nothing strikes"
    ONE_CLAIM = "an attempt is claimed once, and its code runs once"
    ONE_RESULT = "an attempt has one result, and a task run one that counts"
    JOURNAL = "a journal has every seq once, in order, and no entry changes"
    FOLD = "every state an executor holds is the fold of the journal so far"
    SLOTS = "no slot is overfilled, none is idle while somebody waits; one left with an ended execution counts as free"
    COMMANDS = "every command that was decided has gone out, and none is left at the end"
    SUMMARY = "a summary is that of the folded journal"
    ONE_CAUSE = "a cause starts one execution"
    ONCE = "where nothing strikes, each command goes out once"
    NO_BUG = "a function fails by errors of its ports, never by one of its own"
    WATERMARK = "a watermark says only of commands that are out that they are"
    PROMPT = "where nothing is lost, nothing waits for the sweeper"
    LEASE = "nobody takes a light task for lost before its lease is over"
