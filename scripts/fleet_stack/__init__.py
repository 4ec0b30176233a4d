"""Everything behind `make up`, `make test` and `scripts/setup-libtorch`; the standard library and nothing else.

Reading order: console, paths, debs, pip, tools, libtorch, build (prerequisites on the machine);
ports, process, group, postgres, rabbitmq, prometheus (one service a file);
services, apps, supervisor (the running stack); commands and `__main__` (the command line).
"""
