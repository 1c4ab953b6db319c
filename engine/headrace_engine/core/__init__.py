"""What happens next, and nothing else: no I/O, no clock, no template, no vendor.

An execution is its journal. Each entry holds *events*, what the execution decided; `fold` turns events into
a `state`; `decide` turns a state and a message (or the answer to a question it asked) into more events;
`outstanding` says which *commands* a state still calls for. Everything here is immutable data and small
functions over it, so that a step can be replayed, raced and interrupted at will.

    messages    what goes into an execution: created, an attempt ended, a timer fired, kill, ...; and the answers
    events      what the execution decided, as the journal keeps it
    state       what the events add up to
    transitions which state may follow which: the one table
    fold        state + event -> state
    decide      flow + state + message -> events
    flowable    how each kind of flowable orders its children
    retry       when the next attempt is due
    commands    what must happen outside because of a state
    codec       events and messages as bytes
"""
