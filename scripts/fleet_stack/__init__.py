"""Everything behind `make up`, `make test` and `scripts/setup-libtorch`; the standard library and nothing else.

Reading order: paths, console, disk, debs, pip, tools, libtorch (prerequisites on the machine);
ports, process, postgres, redis, rabbitmq, prometheus (one service a file);
services, apps, supervisor (the running stack); commands and `__main__` (the command line).
"""
