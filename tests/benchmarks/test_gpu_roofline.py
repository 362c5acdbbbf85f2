"""The arithmetic of the predictions: bytes and FLOPs that anybody can count."""

import pytest
import torch
from gpu_roofline import H100, Card, Count, Operation, Work, through

CARD = Card("toy", bandwidth=100.0, rates={"fp32": 10.0, "tf32": 40.0, "bf16": 80.0})
FLOAT, LONG = 4, 8


def noted(call):
    with Count() as count:
        call()
    return [(each.bytes, each.flops, each.half) for each in count.operations]


A, B = torch.randn(3, 5), torch.randn(5, 7)
INDEX = torch.tensor([[0], [4], [2]])


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: A @ B, (FLOAT * (15 + 35 + 21), 2 * 3 * 5 * 7, False)),
        (lambda: A.bfloat16(), (15 * (FLOAT + 2), 0, True)),
        (lambda: A.clone().add_(1), (FLOAT * 2 * 15, 0, False)),
        (lambda: torch.zeros_like(A), (FLOAT * 15, 0, False)),
        # One row that is expanded is read once.
        (lambda: A[:1].expand(3, 5) + A, (FLOAT * (5 + 15 + 15), 0, False)),
        # Three of fifteen are read, and written.
        (lambda: A.gather(1, INDEX), (FLOAT * 6 + LONG * 3, 0, False)),
        (lambda: A.clone().scatter_(1, INDEX, 1.0), (FLOAT * 6 + LONG * 3, 0, False)),
        (lambda: A.sum(dim=1), (FLOAT * (15 + 3), 0, False)),
    ],
)
def test_bytes_and_flops_of_an_operation(call, expected):
    assert noted(call)[-1] == expected


def test_views_and_new_memory_move_nothing():
    assert noted(lambda: A.T.view(-1, 3)[1:].detach()) == []
    assert noted(lambda: torch.empty(1000)) == []


def test_a_convolution_has_the_products_of_its_windows():
    convolution = torch.nn.Conv2d(3, 8, 3, bias=False)
    ((moved, flops, half),) = noted(lambda: convolution(torch.ones(2, 3, 10, 10)))[1:]
    assert flops == 2 * (2 * 8 * 8 * 8) * (3 * 3 * 3) and not half
    assert moved == FLOAT * (2 * 3 * 100 + 8 * 3 * 9 + 2 * 8 * 64)


def test_an_operation_takes_the_longer_of_moving_and_computing():
    assert Operation(200, 10).seconds(CARD, "fp32") == 2.0
    assert Operation(200, 80).seconds(CARD, "fp32") == 8.0
    assert Operation(100, 80).seconds(CARD, "tf32") == 2.0
    assert Operation(10, 80, half=True).seconds(CARD, "fp32") == 1.0


def test_fused_work_is_that_of_the_products():
    count = Count()
    count.operations += [Operation(100, 0), Operation(200, 80), Operation(300, 0)]
    assert count.work(card=CARD) == Work(3, 600, 80, 1 + 8 + 3)
    assert count.work("tf32", fused=True, card=CARD) == Work(1, 200, 80, 2.0)


def test_the_published_rates_are_those_of_the_data_sheet():
    rates = H100.rates
    assert H100.bandwidth == 3.35e12
    assert (rates["fp32"], rates["tf32"], rates["bf16"]) == (67e12, 495e12, 989e12)


def test_a_parabola_is_found_again():
    points = {x: Work(1, x, x * x, 2 * x * x - x) for x in (1, 2, 5)}
    for found, expected in zip(
        through(points, 40).parts, (1, 40, 1600, 3160), strict=True
    ):
        assert found == pytest.approx(expected)
