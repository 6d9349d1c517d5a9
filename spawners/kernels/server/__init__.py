"""Kernels as batch jobs in a notebook server: jupyter_server's classes, and routes.

Imported in the user's notebook server only, by the server extension
``landbridge_lab``, when ``LANDBRIDGE_KERNEL_CONFIG`` says that kernels may be jobs::

    extension.py   what is switched on, and when
    manager.py     all kernels of the server: pending starts, adoption, the end
    kernel.py      one kernel: its phase, its resources, why it ended
    channels.py    a websocket that answers while its kernel is still in the queue
    specs.py       the site's profiles as kernelspecs
    choices.py     resources chosen in a dialog, until their kernel starts
    routes.py      the REST routes under ``landbridge/``; views.py: their JSON
    idle.py        ends GPU kernels that nobody uses

Kernels without a job stay as jupyter_server has them.
"""
