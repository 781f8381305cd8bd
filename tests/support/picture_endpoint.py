"""A loopback endpoint that reports the pixels it received, pictures for it, and invented rows for the nine suites."""

import base64
import hashlib
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image
from stored_run import journal_records

BLINK_PARTS = (
    "Art_Style", "Counting", "Forensic_Detection", "Functional_Correspondence", "IQ_Test", "Jigsaw",
    "Multi-view_Reasoning", "Object_Localization", "Relative_Depth", "Relative_Reflectance",
    "Semantic_Correspondence", "Spatial_Relation", "Visual_Correspondence", "Visual_Similarity",
)  # fmt: skip
NINE = (
    "mmmu", "mmmu_pro_standard", "mmmu_pro_vision", "cmmmu", "cii_bench", "blink", "mathvision", "ocrbench", "mmvet_v2",
)  # fmt: skip


def pixels_of(picture):
    """The digest of a picture's RGB pixels, by this file's own recipe."""
    rgb = picture.convert("RGB")
    return hashlib.sha256(repr(rgb.size).encode() + rgb.tobytes()).hexdigest()[:12]


def colour(n):
    """A picture that no other number has, small, with every pixel different from its neighbour."""
    picture = Image.new("RGB", (9, 6))
    picture.putdata([((n * 37 + 5 * i) % 256, (n // 7 * 11 + i * i) % 256, (n + 29 * i) % 256) for i in range(54)])
    return picture


def saved(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


class PictureEndpoint:
    """Answers with the prompt's hint; every response says under `received` what came: texts, and digests of pixels.

    `spoil(received, number)` may turn a request into (status, body) or "drop"; `asked` holds what was received, but for
    the preflight's questions, which are in `preflight`, and those of `compare`'s doctor. `change(body, response)` may
    make another response of it.
    """

    model = "loopback"

    def __init__(self):
        self.asked, self.preflight, self.doctor = [], [], []
        self.answer = lambda text: f"Answer: {hint_of(text)}"
        self.spoil = lambda received, number: None
        self.change = lambda body, response: response
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def send(self, status, document):
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                if self.path != "/v1/models":
                    return self.send(404, {"error": {"message": "no such path"}})
                return self.send(200, {"object": "list", "data": [{"id": outer.model, "object": "model"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                return outer.take(self, body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, handler, body):
        received = received_of(body)
        text = "".join(value for kind, value in received if kind == "text")
        with self._lock:
            of_an_item = "hint" in text or any(kind == "image" for kind, _ in received)
            log = self.preflight if text == "Say yes." else self.asked if of_an_item else self.doctor
            log.append(received)
            number = len(self.asked)
        spoiled = self.spoil(received, number)
        if spoiled == "drop":
            handler.close_connection = True
            return handler.connection.close()
        if spoiled is not None:
            return handler.send(*spoiled)
        message = {"role": "assistant", "content": self.answer(text)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 3}
        response = {"id": "x", "model": self.model, "choices": [choice], "usage": usage, "received": received}
        return handler.send(200, self.change(body, response))

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def received_of(body):
    """[("text", words) or ("image", digest of the decoded pixels), ...] in order of arrival."""
    received = []
    for message in body["messages"]:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                received.append(("text", part["text"]))
                continue
            head, _, data = part["image_url"]["url"].partition(",")
            picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            assert (head, picture.format, picture.mode) == ("data:image/png;base64", "PNG", "RGB")
            received.append(("image", pixels_of(picture)))
    return received


def hint_of(text):
    found = re.search(r"\(hint ([^)]+)\)", text)
    return found.group(1) if found else "?"


def pictures(received):
    return [value for kind, value in received if kind == "image"]


def words(received):
    return "".join(value for kind, value in received if kind == "text")


def reported(folder):
    """What the endpoint said that it received, by item, from a run's journal."""
    records = journal_records(folder)
    return {
        (r["suite"], r["item"]): [tuple(part) for part in r["body"]["received"]]
        for r in records
        if r["record"] == "reply"
    }


def nine_tables(cell):
    """{file stem under the data folder: rows} of all nine suites; `cell(n)` is how a row holds picture number n."""
    five = {f"image_{k}": None for k in range(5, 8)}
    mmmu = [
        {
            "id": "validation_Math_901", "question": "See <image 2>, then <image 1>; again <image 2>. (hint B)",
            "options": "['<image 3>', 'ten', 'six']", "image_1": cell(1), "image_2": cell(2), "image_3": cell(3),
            "image_4": cell(4), **five, "answer": "B", "question_type": "multiple-choice", "topic_difficulty": "Easy",
        },
        {
            "id": "validation_Art_902", "question": "How many in <image 1>? (hint 12)", "options": "[]",
            "image_1": cell(5), "image_2": None, "image_3": None, "image_4": None, **five, "answer": "['12', 'twelve']",
            "question_type": "open", "topic_difficulty": "Hard",
        },
    ]  # fmt: skip
    standard = [
        {
            "id": "test_Art_9001", "question": "Which <image 2>? <image 1> (hint C)", "options": str(list("pqrstuvwxy")),
            "image_1": cell(6), "image_2": cell(7), "answer": "C", "subject": "Art", "topic_difficulty": "Easy",
        }
    ]  # fmt: skip
    vision = [{"id": "test_Art_9001", "image": cell(8), "options": str(list("pqrst")), "answer": "A", "subject": "Art"}]
    cmmmu = [
        {
            "id": "90001", "type": "选择", "question": '如图<img="b.png">和<img="a.png"> (hint AC)', "option1": "一",
            "option2": "二", "option3": "三", "option4": "-", "image_1": cell(9), "image_2": cell(10), "answer": "AC",
            "image_1_filename": "a.png", "image_2_filename": "b.png", "category": "科学", "subcategory": "数学",
        },
        {
            "id": "90002", "type": "判断", "question": '<img="c.png">正确吗 (hint 对)', "option1": "-", "option2": "-",
            "option3": "-", "option4": "-", "image_1": cell(11), "image_2": None, "answer": "对",
            "image_1_filename": "c.png", "image_2_filename": "", "category": "商业", "subcategory": "会计",
        },
    ]  # fmt: skip
    cii = [
        {
            "id": f"test-{n}", "image": cell(12), "question": f"这张图片有什么隐喻？(hint {letter})", "answer": letter,
            **{f"option{k}": f"选{k}" for k in range(1, 7)}, "domain": "环境", "emotion": "中性", "difficulty": "简单",
            "rhetoric": "隐喻", "local_path": f"test/{n}.jpg",
        }
        for n, letter in enumerate("FA")
    ]  # fmt: skip
    blink = {
        part: [
            {
                "idx": f"val_{part}_1", "question": "?", "sub_task": part, "image_1": cell(20 + n),
                "image_2": cell(40 + n), "image_3": None, "image_4": None, "choices": ["x", "y"], "answer": "(B)",
                "prompt": "Which one? (hint B)\nSelect from the following choices.\n(A) x\n(B) y",
            }
        ]
        for n, part in enumerate(BLINK_PARTS)
    }  # fmt: skip
    mathvision = [
        {
            "id": "9001", "question": "How large?\n<image1> (hint 12)", "options": [], "image": "images/x.jpg",
            "decoded_image": cell(13), "answer": "12", "level": 2, "subject": "algebra",
        },
        {
            "id": "9002", "question": "<image1> or <image2>? (hint D)", "options": list("ABCDE"), "image": "images/y.jpg",
            "decoded_image": cell(14), "answer": "D", "level": 1, "subject": "counting",
        },
    ]  # fmt: skip
    ocr = [
        {
            "dataset": "own", "question": f"what is written in the image? (hint HARBOR{n})", "answer": [f"HARBOR{n}"],
            "question_type": kind, "image": cell(15 + n),
        }
        for n, kind in enumerate(("Regular Text Recognition", "Doc-oriented VQA"))
    ]  # fmt: skip
    mmvet = [
        {
            "id": "v2_1", "question": "<IMG><image_1><IMG>Before <IMG><image_0><IMG>? (hint 3 cups)", "image_0": cell(17),
            "image_1": cell(18), "answer": "3<OR>three", "capability": ["rec", "math"],
        }
    ]  # fmt: skip
    return {
        "mmmu/validation": mmmu, "mmmu_pro_standard/mmmu_pro_standard": standard,
        "mmmu_pro_vision/mmmu_pro_vision": vision, "cmmmu/val": cmmmu, "cii_bench/test": cii,
        **{f"blink/{part}": rows for part, rows in blink.items()}, "mathvision/test": mathvision,
        "ocrbench/test": ocr, "mmvet_v2/test": mmvet,
    }  # fmt: skip
