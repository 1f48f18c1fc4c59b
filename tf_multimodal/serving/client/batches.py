"""Many rows, several requests at a time, in order."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tf_multimodal.serving.client.circuit_breaker import CircuitBreaker
from tf_multimodal.serving.client.predict_client import (
    SERVING_DEFAULT,
    Pair,
    PredictClient,
    Prediction,
    RequestError,
)

BATCH_SIZE = 32  # the largest that the export warms the server up for
IN_FLIGHT = 4
# What a row, or too many of them, may be the cause of. After any other error, half
# of the rows would get the same answer.
OF_A_ROW = ("INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL", "UNKNOWN")

Item = TypeVar("Item")
Result = TypeVar("Result")


def predict_many(
    client: PredictClient,
    pairs: Iterable[Pair],
    *,
    signature: str = SERVING_DEFAULT,
    batch_size: int = BATCH_SIZE,
    in_flight: int = IN_FLIGHT,
) -> Iterator[Prediction | RequestError]:
    """Yields for every pair, in order, its prediction or why there is none.

    A server that is gone is not asked to the end: the rest are `NotAsked`.

    Args:
        client: asks the model.
        pairs: any number; read as they are needed.
        signature: a key of `predict_client.INPUTS`.
        batch_size: rows of a request.
        in_flight: requests at a time.
    """
    client = CircuitBreaker(client)
    iterator = iter(pairs)
    batches = iter(lambda: list(itertools.islice(iterator, batch_size)), [])
    for results in map_in_flight(
        lambda batch: predict_batch(client, batch, signature), batches, in_flight
    ):
        yield from results


def predict_batch(
    client: PredictClient, pairs: Sequence[Pair], signature: str = SERVING_DEFAULT
) -> list[Prediction | RequestError]:
    """Returns for every pair its prediction or why there is none.

    A request that its rows may have made fail is cut in halves until only the rows
    remain that fail alone; so one row cannot take the others with it.
    """
    try:
        return [*client.predict(pairs, signature)]
    except RequestError as error:
        if len(pairs) == 1 or error.code not in OF_A_ROW:
            return [error] * len(pairs)
    middle = len(pairs) // 2
    return [
        *predict_batch(client, pairs[:middle], signature),
        *predict_batch(client, pairs[middle:], signature),
    ]


def map_in_flight(
    function: Callable[[Item], Result], items: Iterable[Item], in_flight: int
) -> Iterator[Result]:
    """Yields `function` of the items, in order; some are worked on at a time.

    Args:
        function: called in threads.
        items: read no further ahead than twice `in_flight`, so that a slow item
            does not idle the others and the results that wait stay few.
        in_flight: number of threads.
    """
    waiting: collections.deque[Future[Result]] = collections.deque()
    pool = ThreadPoolExecutor(in_flight)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 2 * in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # After an error or an interrupt, nobody waits for what is on its way.
        pool.shutdown(wait=False, cancel_futures=True)
