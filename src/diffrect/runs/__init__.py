"""The RUN folder of a training: its files, checkpoints and log, and how a training resumes."""
