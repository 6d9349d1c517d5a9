"""Batch jobs through Slurm's commands: for each, what it is asked and how it answers.

Arguments are made by pure functions. Nothing in them is quoted, because nothing reaches
a shell, and no value of a job's environment is among them, for everybody on the machine
can read them. Answers are read from the bytes of standard output (samples: Slurm
22.05.8, ``tests/rigs/slurm/recorded``). One that is cut off or no listing at all
raises ``SchedulerUnavailable``; within a listing each line is judged by itself
(:mod:`.lines`), and one that does not fit never ends a job.
"""
