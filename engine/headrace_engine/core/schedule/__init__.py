"""When schedules fire (reference §8.1, §8.2, §9), as arithmetic: no clock, no store, no template; now is a parameter.

cron        cron expressions, as sets of values
wall_clock  the next and the previous date of a cron expression in a time zone, through DST changes
times       the dates of a trigger: those of a cron expression, or a list
trigger     what a schedule trigger is, and what is kept of it between two dates
evaluate    which dates are due, what is passed over, what is armed next: the state machine
backfill    dates of the past, one after the other
conditions  the conditions that choose dates
"""
