package main

// runDetails is what there is to know about run in rare cases.
const runDetails = `
Which signals are passed on: all that a program can have and that are sent by
others, the real-time ones and SIGWINCH too. The exceptions are SIGCHLD, SIGURG,
SIGPROF, SIGPIPE, SIGXCPU, SIGXFSZ, SIGTSTP, SIGTTIN, SIGTTOU, faults such as
SIGSEGV, and 34, the first real-time signal, which Go leaves to C libraries.

How run knows that a signal was sent to the whole process group: on Linux it has
a second process there, a cat with all signals blocked, and looks in /proc whether
the signal is pending for that one, too. Without cat or /proc, and on other
systems, run takes SIGINT, SIGQUIT and SIGWINCH for typed if it is in the
foreground of a terminal, and passes on everything else. Then a COMMAND gets a
signal that was sent to the whole group twice. So it does in the first moment
after its start. A COMMAND in a process group of its own (timeout(1), setsid(1), a
shell with job control) gets everything from run.
`
