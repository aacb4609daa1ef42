"""GPUs that people train on: what they hold, and how fast they compute and read.

Rates are dense, without the sparsity that data sheets multiply them by, and of sums in fp32, which
is what training adds up in. Memory is what CUDA reports as a device's total, a little less than
what is printed on the box. Names are those of the driver's list of GPUs
(github.com/NVIDIA/open-gpu-kernel-modules, README.md at 015742d).
"""

from collections.abc import Mapping

from attrs import frozen


@frozen(kw_only=True)
class Gpu:
    """One kind of device."""

    name: str
    title: str
    reported: tuple[str, ...]
    """What CUDA calls it (`torch.cuda.get_device_name`)."""
    memory_gib: float
    processors: int
    """Streaming multiprocessors."""
    bf16: float | None
    """Matrix products in TFLOP/s; None where the device has none in this type."""
    fp16: float
    fp8: float | None
    fp32: float
    """Without TF32, which torch leaves off (`torch.backends.cuda.matmul.allow_tf32`)."""
    bandwidth: int
    """Of its memory, in GB/s."""
    utilization: tuple[float, float] = (0.24, 0.60)
    """What a step reaches of the rate, at least and at most.

    The least is a step of CogVideoX-5b priced kernel by kernel for an H100; the most is what
    FlashAttention-2 and cuBLAS leave on the devices that they were written for (arXiv 2307.08691).
    """
    source: str
    memory_source: str
    unread: str = ""
    """What of the row is remembered or computed, and was not read in a source."""

    def rate(self, precision: str) -> float | None:
        """Matrix products in TFLOP/s where training is in a type; None where it can't be."""
        rates: Mapping[str, float | None] = {"no": self.fp32, "fp16": self.fp16, "bf16": self.bf16}
        return rates[precision]


def _table(*gpus: Gpu) -> Mapping[str, Gpu]:
    return {gpu.name: gpu for gpu in gpus}


GPUS = _table(
    Gpu(
        name="h100",
        title="H100 SXM 80 GB",
        reported=("NVIDIA H100 80GB HBM3",),
        memory_gib=79.1,
        processors=132,
        bf16=989.4,
        fp16=989.4,
        fp8=1978.9,
        fp32=66.9,
        bandwidth=3350,
        # FlashAttention-2 does not use Hopper's own instructions.
        utilization=(0.24, 0.33),
        source="NVIDIA H100 Tensor Core GPU Architecture whitepaper, table 2; H100 data sheet",
        memory_source="vllm-project/vllm#27508: 79.11 GiB",
    ),
    Gpu(
        name="h200",
        title="H200 SXM 141 GB",
        reported=("NVIDIA H200",),
        memory_gib=139.7,
        processors=132,
        bf16=989.4,
        fp16=989.4,
        fp8=1978.9,
        fp32=66.9,
        bandwidth=4800,
        # FlashAttention-2 does not use Hopper's own instructions.
        utilization=(0.24, 0.33),
        source="NVIDIA H200 data sheet",
        memory_source="out-of-memory messages of torch: 139.72 to 139.81 GiB",
    ),
    Gpu(
        name="a100-40",
        title="A100 40 GB",
        reported=("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB"),
        memory_gib=39.3,
        processors=108,
        bf16=312.0,
        fp16=312.0,
        fp8=None,
        fp32=19.5,
        bandwidth=1555,
        source="NVIDIA A100 data sheet",
        memory_source="bottlerocket-os/bottlerocket#3873: 42298834944 bytes",
        unread="the name without NVIDIA, of older drivers",
    ),
    Gpu(
        name="a100-80",
        title="A100 80 GB",
        reported=("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"),
        memory_gib=79.1,
        processors=108,
        bf16=312.0,
        fp16=312.0,
        fp8=None,
        fp32=19.5,
        # Of the SXM module; 1935 of the PCIe card.
        bandwidth=2039,
        source="NVIDIA A100 data sheet",
        memory_source="out-of-memory messages of torch: 79.14 GiB",
        unread="the name without NVIDIA, of older drivers",
    ),
    Gpu(
        name="l40s",
        title="L40S",
        reported=("NVIDIA L40S",),
        memory_gib=44.4,
        processors=142,
        bf16=362.1,
        fp16=362.1,
        fp8=733.0,
        fp32=91.6,
        bandwidth=864,
        source="NVIDIA L40S data sheet",
        memory_source="stepfun-ai/Step-Video-T2V#8: 44.42 GiB",
    ),
    Gpu(
        name="4090",
        title="GeForce RTX 4090",
        reported=("NVIDIA GeForce RTX 4090",),
        memory_gib=23.5,
        processors=128,
        bf16=165.2,
        fp16=165.2,
        fp8=330.3,
        fp32=82.6,
        bandwidth=1008,
        source="NVIDIA Ada GPU Architecture whitepaper, appendix A",
        memory_source="Soul-AILab/SoulX-FlashTalk#5: 23.52 GiB",
    ),
    Gpu(
        name="3090",
        title="GeForce RTX 3090",
        reported=("NVIDIA GeForce RTX 3090",),
        memory_gib=23.6,
        processors=82,
        bf16=71.0,
        fp16=71.0,
        fp8=None,
        fp32=35.6,
        bandwidth=936,
        source="holynerdvana.blogspot.com/2022/10/nvidia-geforce-rtx-3090-specifications.html: 82 "
        "multiprocessors, 35.6 TFLOP/s in fp32, 142 in fp16, 936 GB/s",
        memory_source="out-of-memory messages of torch: 23.69 GiB",
        unread="bf16 and fp16 with sums in fp32, taken as half of the 142 with sums in fp16",
    ),
    Gpu(
        name="3060-12",
        title="GeForce RTX 3060 12 GB",
        reported=("NVIDIA GeForce RTX 3060",),
        memory_gib=11.7,
        processors=28,
        # 512 operations a clock and multiprocessor at 1.777 GHz.
        bf16=25.5,
        fp16=25.5,
        fp8=None,
        fp32=12.7,
        bandwidth=360,
        source="pcpartdb.com/gpus/view/nvidia-geforce-rtx-3060-12-gb-ga104: 1777 MHz, 360 GB/s; "
        "cholla.mmto.org/nvidia/my3060.html: 28 multiprocessors",
        memory_source="Kunhao-Liu/StyleGaussian#12: 11.75 GiB",
        unread="bf16 and fp16, computed from operations a clock of the 3090",
    ),
    Gpu(
        name="t4",
        title="T4",
        reported=("Tesla T4", "NVIDIA T4"),
        memory_gib=14.7,
        processors=40,
        bf16=None,
        fp16=65.0,
        fp8=None,
        fp32=8.1,
        bandwidth=320,
        source="NVIDIA T4 Tensor Core GPU data sheet",
        memory_source="hpcaitech/Open-Sora#697: 14.75 GiB",
        unread="both names",
    ),
)

_BY_REPORTED = {reported: gpu for gpu in GPUS.values() for reported in gpu.reported}


def reported_gpu(device_name: str) -> Gpu | None:
    """The row of a device as CUDA names it, if there is one."""
    return _BY_REPORTED.get(device_name)
