"""A dispatcher or a worker of a tf.data service, in a process of its own.

python service_process.py dispatcher FOLDER
python service_process.py worker DISPATCHER_ADDRESS

It prints its address and runs until it is killed.
"""

import sys

import tensorflow as tf
import tensorflow_text  # noqa: F401  the ops of the tokenizer


def main() -> None:
    service = tf.data.experimental.service
    kind, place = sys.argv[1:]
    server: tf.data.experimental.service.DispatchServer
    if kind == "dispatcher":
        config = service.DispatcherConfig(
            work_dir=place, fault_tolerant_mode=True, worker_timeout_ms=2000
        )
        server = service.DispatchServer(config)
        print(server.target, flush=True)
    else:
        server = service.WorkerServer(
            service.WorkerConfig(place, heartbeat_interval_ms=200)
        )
        print("ready", flush=True)
    server.join()


if __name__ == "__main__":
    main()
