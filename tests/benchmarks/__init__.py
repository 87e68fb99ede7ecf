"""What a session costs and how long a frame takes, beside the vendor SDK and beside a hand-written loop.

Run by ``python -m tests.benchmarks [name ...] [--quick] [--json FILE]``. Each figure is taken from three sides in turn
within one run, each in a process of its own, against a server in a process of its own that sends what it encoded
beforehand:

vendor
    the vendor SDK, dashscope.
ours
    this package, through its public API: a handler registered with ``on``, audio as bytes.
floor
    a hand-written client that does nothing but what must be done (:mod:`.floor`).

Figures differ from machine to machine and from minute to minute; the ratios within one run are what counts, and the
spread of the floor over the rounds says how far they can be trusted.
"""
