"""``python -m nodes.platform FD PARENT``: what the process of an instance runs (see `nodes.platform.instance`).

``FD`` is the number of its end of the socket pair, ``PARENT`` the process that it is not to outlive.
"""

import ctypes
import os
import signal
import socket
import sys
import time


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; end at once if it has ended already."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def main() -> None:
    """Be an instance; ends with its agent."""
    first = time.monotonic()
    die_with_parent(int(sys.argv[2]))
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)  # not for what a function starts
    from nodes.errors import WireError
    from nodes.platform.instance import Gone, Link, serve  # they take their time, and count as imports

    try:
        serve(Link(connection), first)
    except Gone:
        pass
    except WireError as error:
        sys.stderr.write(f"{error}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # there is nothing to save, and threads of a function are not waited for


if __name__ == "__main__":
    main()
