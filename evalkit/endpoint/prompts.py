"""Neutral prompts for the fidelity probe, for when no suite's data set is at hand: short, of many kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evalkit.model import Message

NEUTRAL: Final = (
    "Explain to a child why the moon changes its shape over a month.",
    "Write a short paragraph about a market on a rainy morning.",
    "What is 17 times 24? Show the steps.",
    "List five things to check before a long bicycle tour.",
    "Write a Python function that returns the second largest number of a list.",
    "Summarise in two sentences how a vaccine works.",
    "用三句话介绍一下长城的历史。",
    "Translate into French: The library opens at nine, but the reading room opens at ten.",
    "Give the opposite of each word: ancient, shallow, generous, silent.",
    "A train leaves at 14:35 and arrives at 17:10. How long is the journey?",
    "Describe how to fold a paper boat, step by step.",
    "What is the difference between weather and climate?",
    "Write a polite e-mail that moves a meeting from Tuesday to Thursday.",
    "Which of these is not a metal: copper, sulphur, tin, zinc? Say why.",
    "Continue the story: The lighthouse keeper found a letter without a name on it.",
    "如何用简单的方法证明根号二是无理数？",
    "Write an SQL query that counts the orders of each customer in 2023.",
    "Name three causes of the First World War and explain one of them.",
    "Turn this into a haiku: an old bridge in autumn fog.",
    "If all bloops are razzies and some razzies are lazzies, are some bloops lazzies? Explain.",
    "How do bees tell each other where flowers are?",
    "Rewrite in plain words: The aforementioned party shall hereinafter be liable for all expenses.",
    "What happens to the boiling point of water on a high mountain, and why?",
    "Give a recipe for lentil soup for four people.",
    "Sort these numbers from small to large: 0.5, 3/8, 0.45, 2/3.",
    "请写一封感谢老师的短信，不超过一百字。",
    "Explain what a hash table is and when it is slow.",
    "Write a dialogue of six lines between a customer and a watchmaker.",
    "What does the word 'serendipity' mean? Use it in a sentence.",
    "How many prime numbers are there between 20 and 40? Name them.",
    "Describe the taste of a lemon to someone who never had one.",
    "Compare a violin and a cello in three points.",
    "Why does ice float on water?",
    "Write a bash command that finds all files larger than 100 MB in a folder.",
    "Tell the plot of a fable with a fox and a crow in five sentences.",
    "把下面的句子翻译成英文：明天如果下雨，我们就改在室内举行比赛。",
    "What is the derivative of x^3 - 4x + 7, and where is it zero?",
    "Give arguments for and against homework in primary school.",
    "Name the planets of the solar system in order and one fact about each.",
    "Write a JSON object that describes a book with a title, an author and three chapters.",
    "How does a refrigerator move heat from inside to outside?",
    "What would you pack for three days in the desert?",
    "Correct the mistakes: He go to school yesterday and buyed two pencil.",
    "Explain the rule of three with an example about apples.",
    "Write the opening of a speech at a village festival.",
    "为什么天空是蓝色的？请用中学生能听懂的话解释。",
    "What is a haiku, and how does it differ from a sonnet?",
    "A shirt costs 40 and is reduced by 15 percent. What does it cost now?",
    "Describe the path of a drop of water from a mountain to the sea.",
    "Write a regular expression that matches a date such as 2024-03-09 and explain it.",
    "Who were the first people to reach the South Pole, and how did they travel?",
    "Explain the difference between a virus and a bacterium.",
    "Write a limerick about a baker from Trieste.",
    "What are the advantages of public transport in a large city?",
    "Give three synonyms for 'bright' and use each in a sentence.",
    "请比较纸质书和电子书的优缺点。",
    "How would you measure the height of a tree without climbing it?",
    "Write a JavaScript function that reverses the words of a sentence.",
    "What is inflation, and who is hurt by it most?",
    "Tell me about the invention of the printing press in four sentences.",
    "Solve for x: 3(x - 2) = 2x + 5.",
    "Describe a painting of a harbour at night.",
    "Why do leaves change their colour in autumn?",
    "Plan a lesson of 45 minutes about volcanoes.",
)


def neutral_prompts(count: int) -> tuple[tuple[Message, ...], ...]:
    """The first `count` of them (at most 64) as chat messages."""
    return tuple(({"role": "user", "content": text},) for text in NEUTRAL[:count])


def spread(prompts: Sequence[tuple[Message, ...]], count: int) -> tuple[tuple[Message, ...], ...]:
    """So many of the prompts, evenly spread over their order; all of them where there are no more."""
    if len(prompts) <= count:
        return tuple(prompts)
    return tuple(prompts[index * len(prompts) // count] for index in range(count))
