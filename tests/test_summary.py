"""The table of layers: the tutorial's figures."""

import pytest

import squeezenet_c as sq
from squeezenet_c.summary import summary_rows, summary_totals


def test_the_tutorials_figures():
    model = sq.Model("1_0", num_classes=4, final_relu=True)
    text = model.summary()
    for line in (
        "Total parameters: 737,476",
        "Input size (MB): 0.57",
        "Forward/backward pass size (MB): 89.22",
        "Parameters size (MB): 2.81",
        "Estimated total size (MB): 92.61",
    ):
        assert line in text.splitlines()
    rows = summary_rows(model, 224)
    convolutions = [row for row in rows if row[0] == "Conv2D"]
    assert [row[3] for row in convolutions[:4]] == [14208, 1552, 1088, 9280]
    assert convolutions[-1][3] == 2052
    assert [row[0] for row in rows].count("Fire") == 8
    assert [row[0] for row in rows].count("ReLU") == len(convolutions)
    assert [row[2][1] for row in rows if row[0] == "MaxPool2D"] == [54, 27, 13]
    assert rows[0][1:3] == ((3, 224, 224), (96, 109, 109))
    assert rows[-1][0] == "AdaptiveAvgPool2D" and rows[-1][2] == (4, 1, 1)


@pytest.mark.parametrize("bypass", [None, "simple", "complex"])
@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_parameters_add_up(version, bypass):
    model = sq.Model(version, num_classes=3, bypass=bypass)
    rows = summary_rows(model, 96)
    assert sum(row[3] for row in rows) == model.parameter_count
    assert [row[0] for row in rows].count("Sum") == {None: 0, "simple": 4, "complex": 8}[bypass]
    tensors = model.state_dict().values()
    assert summary_totals(model, 96)["parameters"] == sum(tensor.size for tensor in tensors)
