"""Jobs on a Ray cluster, one of whose machines is lost, and files at URLs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lipsync_core.batch import places
from lipsync_core.batch.jobs import read_jobs
from lipsync_core.batch.pool import Pool
from lipsync_core.batch.schedule import DONE, Schedule
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError, MediaError

ray = pytest.importorskip("ray", reason="Ray is not installed: nothing was run on a cluster (requirements-cluster.txt)")


@pytest.fixture(scope="module")
def sound(spoken: Callable[[float], Path]) -> Path:
    return spoken(2)


def url(file: Path) -> str:
    return f"file://{file.as_posix()}"


def test_no_cluster_is_said_in_a_sentence() -> None:
    from lipsync_core.batch.cluster import Cluster

    with pytest.raises(LipSyncError, match="There is no Ray cluster at auto"):
        Cluster("auto")


def test_urls_are_found_in_arguments_and_fetched(tmp_path: Path) -> None:
    (tmp_path / "a b.wav").write_bytes(b"sound")
    place = url(tmp_path / "a b.wav")
    found = places.localised([f"--voice=0={place}@-2.5", f"--sound={place}", place, "C:\\a.wav", "--set=x"], tmp_path)
    assert found[0].startswith("--voice=0=") and found[0].endswith("_a b.wav@-2.5") and found[3:] == ["C:\\a.wav", "--set=x"]
    assert Path(found[2]).read_bytes() == Path(found[1].removeprefix("--sound=")).read_bytes() == b"sound"
    assert places.exists(place) and not places.exists(place + "x") and places.beside("s3://b/c/d.mp4", "e") == "s3://b/c/e"
    with pytest.raises(MediaError, match="can't be fetched"):
        places.fetch(url(tmp_path / "none.wav"), tmp_path)
    with pytest.raises(LipSyncError, match="no address that fsspec knows"):
        places.exists("nothing-like-it://a/b")
    jobs = read_jobs("-", "s3://bucket/out/", text='{"video": "s3://in/a.mp4"}\n{"video": "b.mp4", "output": "x/c.mkv"}')
    assert [job.output for job in jobs] == ["s3://bucket/out/a.mp4", "s3://bucket/out/x/c.mkv"]
    for wrong in ("../a.mp4", "/a.mp4", "s3://other/a.mp4"):
        with pytest.raises(LipSyncError, match="outside"):
            read_jobs("-", "s3://bucket/out", text=json.dumps({"video": "a.mp4", "output": wrong}))


@pytest.mark.slow
def test_a_film_goes_from_url_to_url(face_clip: Path, sound: Path, tmp_path: Path) -> None:
    row = {"video": url(face_clip), "audio": url(sound), "output": "film.mp4", "preset": "ultrafast"}
    (job,) = read_jobs("-", url(tmp_path / "out"), text=json.dumps(row))
    (result,) = Pool(1).run(Schedule([job], split=0.6))
    assert (result.status, result.error, result.report["output"]) == (DONE, "", job.output)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["film.mp4"]
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row), encoding="utf-8")
    told = ["batch", str(tmp_path / "jobs.jsonl"), "-o", url(tmp_path / "out"), "--manifest", str(tmp_path / "m.jsonl"), "--quiet"]
    assert main(told) == 1 and "exists already" in (tmp_path / "m.jsonl").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def machines() -> Iterator[object]:
    from ray.cluster_utils import Cluster as Machines

    cluster = Machines(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ray has no clusters of several machines on Windows")
def test_a_lost_machine_costs_tries_and_nothing_else(face_clip: Path, sound: Path, tmp_path: Path, machines: object) -> None:
    from lipsync_core.batch.cluster import Cluster

    lost = [machines.add_node(num_cpus=1), machines.add_node(num_cpus=1)][0]
    rows = [{"video": str(face_clip), "audio": str(sound), "output": f"{i}.mp4", "preset": "ultrafast"} for i in range(4)]
    jobs = read_jobs("-", tmp_path / "out", text="\n".join(json.dumps(row) for row in rows))
    with pytest.raises(LipSyncError, match="No machine of the cluster has room"):
        Cluster(machines.address, gpus=1)
    cluster, ended = Cluster(machines.address), []
    for result in cluster.run(Schedule(jobs, split=0.5)):
        ended.append(result)
        if len(ended) == 1:
            machines.remove_node(lost, allow_graceful=False)
            machines.add_node(num_cpus=1)
    assert sorted(result.job.number for result in ended) == [1, 2, 3, 4] and {result.status for result in ended} == {DONE}
    assert max(result.tries for result in ended) == 2
    results = [Path(job.output) for job in jobs]
    assert sorted((tmp_path / "out").iterdir()) == results
    assert len({file.read_bytes() for file in results}) == 1          # whoever made which piece
