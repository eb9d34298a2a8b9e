"""The language of what people read: predictions, plots and the report's page, English or Chinese.

A text is written in English where it is used and goes through `translate`; CHINESE has its
translation, and a text that is not in there stays English. Errors and tables are English always.
"""

import os
from typing import Any

LANGUAGES = ("en", "zh")
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # POSIX: the first that is not empty counts

_chosen: str | None = None


def language() -> str:
    """ "zh" or "en": what `set_language` chose, else by the locale's environment variables
    (LC_ALL, LC_MESSAGES, LANG); English for every locale that is not Chinese."""
    if _chosen is not None:
        return _chosen
    locale = next(filter(None, map(os.environ.get, VARIABLES)), "C")
    for mark in "_-.@":  # zh_CN.UTF-8@pinyin
        locale = locale.partition(mark)[0]
    return "zh" if locale.lower() == "zh" else "en"


def set_language(name: str | None) -> None:
    """Choose "zh" or "en" for this process; None: as the environment says. ValueError: another."""
    global _chosen
    if name is not None and name not in LANGUAGES:
        raise ValueError(f"language is {name!r}, expected one of {', '.join(LANGUAGES)} or None")
    _chosen = name


def translate(text: str, /, **values: Any) -> str:
    """`text` in the language, with the values at its {places} (str.format); a text without values
    is taken as it is."""
    return fill(CHINESE.get(text, text) if language() == "zh" else text, values)


def fill(text: str, values: dict[str, Any]) -> str:
    """`text` with the values at its places; without values as it is."""
    return text.format(**values) if values else text


def class_name(name: str, shown_in: str | None = None) -> str:
    """A class's name as it is shown, in `shown_in` or the language: in English, PALM's Chinese ones
    with their translation."""
    known = (shown_in or language()) == "en" and name in ENGLISH_NAMES
    return f"{name} ({ENGLISH_NAMES[name]})" if known else name


# PALM's class names, which are Chinese.
ENGLISH_NAMES = {
    "非病理性近视": "not pathologic",
    "病理性近视": "pathologic myopia",
}

# By the English.
CHINESE = {
    # The command line. The first is the tutorial's line.
    "Predicted: {name}, confidence: {confidence:.4f}": (
        "预测结果为：{name},置信度为: {confidence:.4f}"
    ),
    "Drawing {count} synthetic pictures of eyes into {folder}": (
        "正在绘制 {count} 张合成眼底图，保存到 {folder}"
    ),
    "Best: epoch {epoch}, accuracy {accuracy:.1%}, loss {loss:.3f}, in {path}": (
        "最佳：第 {epoch} 轮，准确率 {accuracy:.1%}，损失 {loss:.3f}，已保存到 {path}"
    ),
    "On the validation set, held out from choosing it:": "在未参与模型选择的验证集上：",
    "On the test set, held out from choosing it:": "在未参与模型选择的测试集上：",
    "Done in {seconds:.0f} s; all of it is in {folder}": (
        "完成，用时 {seconds:.0f} 秒；全部结果在 {folder} 中"
    ),
    # Plots.
    "class": "类别",
    "count": "数量",
    "pictures of each class": "数据类别数量",
    "training": "训练集",
    "validation": "验证集",
    "test": "测试集",
    "epoch": "轮次",
    "accuracy": "准确率",
    "area under the ROC curve": "ROC 曲线下面积",
    "smoothed loss": "平滑后的损失",
    "learning rate": "学习率",
    "steepest: {lr:.2g}": "下降最快处：{lr:.2g}",
    "size in kB": "大小（kB）",
    "accuracy, mean and 95 % interval over seeds": "准确率（各随机种子的均值与 95% 置信区间）",
    "size of the model's file (MB)": "模型文件大小（MB）",
    "Pareto front": "帕累托前沿",
    "pruning": "剪枝",
    "values shared": "共享权值",
    "share of pictures": "图片比例",
    "loss": "损失",
    "cross-entropy": "交叉熵",
    "predicted": "预测类别",
    "true": "真实类别",
    "confusion matrix (pictures)": "混淆矩阵（图片数）",
    "share of the true class": "占真实类别的比例",
    "chance": "随机猜测",
    "the model's decision": "模型的判定点",
    "false positive rate (1 - specificity)": "假阳性率（1 - 特异度）",
    "true positive rate (sensitivity)": "真阳性率（灵敏度）",
    "ROC curve": "ROC 曲线",
    "perfect": "完全校准",
    "the model": "本模型",
    "share of right answers": "判断正确的比例",
    "reliability (calibration error {error:.3f})": "可靠性图（校准误差 {error:.3f}）",
    "pictures": "图片数",
    "probability of {what}": "{what}的概率",
    "the most probable class": "概率最大的类别",
    "threshold {threshold:g}": "阈值 {threshold:g}",
    "pictures (linear to 10, then logarithmic)": "图片数（10 以内为线性刻度，以上为对数刻度）",
    "scores by true class": "各真实类别的概率分布",
    "sensitivity (recall)": "灵敏度（召回率）",
    "precision (PPV)": "精确率（阳性预测值）",
    "precision and sensitivity": "精确率与灵敏度",
    "act on all": "全部干预",
    "act on none": "均不干预",
    "probability from which one acts": "采取干预的概率阈值",
    "net benefit (finds a picture)": "净获益（每张图片的真阳性数）",
    "decision curve": "决策曲线",
    # The report's page: headings.
    "SqueezeNet: report": "SqueezeNet：评估报告",
    "{model} on {data}": "{model} 在 {data} 上的评估",
    "Figures": "评估指标",
    "Answers": "预测结果",
    "Where it is most wrong": "偏差最大的图片",
    "Data": "数据",
    "For a paper": "论文指标",
    "Each class against the rest": "各类别（与其余类别相比）",
    "Where this comes from": "来源信息",
    "Date": "日期",
    "Command": "命令",
    "Model: ": "模型：",
    "Pictures: ": "图片：",
    "Software: ": "软件：",
    "Its training: ": "模型的训练：",
    "For research and teaching. This is no medical device.": ("仅供研究和教学使用，不是医疗器械。"),
    # Its summary.
    "{count} pictures ({kinds}). {rule}": "共 {count} 张图片（{kinds}）。{rule}",
    "{name}: {count}": "{name}：{count} 张",
    ", ": "，",
    "The positive class is {positive}. A picture is called so from a probability of "
    "{threshold:.3g} on.": "阳性类别为{positive}：其概率不低于 {threshold:.3g} 的图片判为阳性。",
    "The positive class is {positive}. A picture is called so from a probability of "
    "{threshold:.3g} on, a threshold that is stored in the model.": (
        "阳性类别为{positive}：其概率不低于 {threshold:.3g}（模型中保存的阈值）的图片判为阳性。"
    ),
    "A picture is given the class of the largest probability.": "每张图片判为概率最大的类别。",
    "Not evaluated: {path}: {why}": "未参与评估：{path}：{why}",
    "There are no plots, for matplotlib is not installed.": "未安装 matplotlib，因此没有图表。",
    # Its figures.
    "Accuracy": "准确率",
    "share of all pictures that are classified rightly": "全部图片中分类正确的比例",
    "AUC": "AUC",
    "area under the ROC curve: how often a picture of the class gets a higher score than one "
    "that is not; 0.5 is chance, 1 is perfect": (
        "ROC 曲线下面积：随机取一张该类图片和一张其他图片，前者得分更高的概率；"
        "0.5 相当于随机猜测，1 为完美"
    ),
    "Sensitivity": "灵敏度",
    "share of the pictures of {positive} that are found": "{positive}图片中被检出的比例",
    "Specificity": "特异度",
    "share of the other pictures that are recognised as such": (
        "其余（阴性）图片中被正确判为阴性的比例"
    ),
    "Sensitivity at 95 % specificity": "特异度为 95% 时的灵敏度",
    "share that would be found by the threshold that wrongly reports at most 5 % of the others": (
        "选取阈值使阴性图片中至多 5% 被误判为阳性时，能检出的阳性图片比例"
    ),
    "F1": "F1 值",
    "harmonic mean of sensitivity and precision (the share of reports that is right)": (
        "灵敏度与精确率（判为阳性的图片中确为阳性的比例）的调和平均数"
    ),
    "Expected calibration error": "期望校准误差",
    "how far the probability of answers is from the share that is right; 0 is perfect": (
        "判断的概率与判断正确的比例之间的平均偏差；0 为完全校准"
    ),
    "Balanced accuracy": "平衡准确率",
    "mean over the classes of the share of their pictures that is found": "各类别召回率的平均值",
    "Average precision": "平均精确率（AP）",
    "area under the curve of precision over sensitivity; the share of positives is chance": (
        "精确率-灵敏度曲线下面积；随机猜测时等于阳性图片所占比例"
    ),
    "AUC, weighted": "加权 AUC",
    "mean of the classes' AUCs, weighed by their pictures": "各类别 AUC 按图片数加权的平均值",
    "PPV": "阳性预测值（PPV）",
    "positive predictive value: share of the reports of {positive} that is right": (
        "判为{positive}的图片中判断正确的比例"
    ),
    "NPV": "阴性预测值（NPV）",
    "negative predictive value: share of the other answers that is right": (
        "判为阴性的图片中判断正确的比例"
    ),
    "LR+": "阳性似然比（LR+）",
    "positive likelihood ratio: by how much a report multiplies the odds of {positive}": (
        "判为阳性时，{positive}的优势（odds）变为原来的多少倍"
    ),
    "LR-": "阴性似然比（LR-）",
    "negative likelihood ratio: by how much the other answer multiplies these odds": (
        "判为阴性时，该优势变为原来的多少倍"
    ),
    "Cohen's kappa": "Cohen κ 系数",
    "agreement with the true classes beyond chance; 1 is perfect": (
        "扣除随机一致后与真实类别的一致程度；1 为完全一致"
    ),
    "Quadratic kappa": "二次加权 κ 系数",
    "the same where classes have an order: answers far off weigh more": (
        "用于有序类别：偏离越远的判断权重越大"
    ),
    "precision": "精确率",
    "recall": "召回率",
    "PPV, NPV and net benefits hold where {share:.3g} of all pictures are of {positive}, "
    "as in this set; --prevalence states another share.": (
        "阳性预测值、阴性预测值与净获益以本数据集的患病率为准：{positive}占全部图片的 {share:.3g}；"
        "可用 --prevalence 指定其他患病率。"
    ),
    "PPV, NPV and net benefits are for a stated prevalence: {share:.3g} of all pictures "
    "are of {positive}.": (
        "阳性预测值、阴性预测值与净获益按指定的患病率计算：{positive}占全部图片的 {share:.3g}。"
    ),
    "({low:.3f} to {high:.3f}, {method})": "（{low:.3f}～{high:.3f}，{method}）",
    "bootstrap": "自助法",
    "(no interval)": "（无置信区间）",
    "In brackets: 95 % intervals. Of shares of pictures by Wilson (1927), of the AUC of two "
    "classes by Newcombe (2006, method 5, on Hanley & McNeil's variance), of the other "
    "figures by a percentile bootstrap over the pictures ({resamples} resamples), which gives "
    "none where all resamples agree; further below, of likelihood ratios by Simel (1991) and "
    "of predictive values at a stated prevalence by Mercaldo (2007), both without one where a "
    "count is 0. They tell how much a figure would vary with other "
    "pictures of the same kind; they say nothing of other cameras, clinics or patients.": (
        "括号内为 95% 置信区间：图片比例采用 Wilson 法（1927）；二分类的 AUC 采用 Newcombe 法"
        "（2006，方法 5，基于 Hanley 和 McNeil 的方差）；其余指标采用对图片重抽样的百分位数自助法"
        "（重抽样 {resamples} 次），若各次重抽样结果完全相同，则不给出区间；"
        "下文的似然比采用 Simel 法（1991），指定患病率下的预测值采用 Mercaldo 法（2007），"
        "任一计数为 0 时均不给出区间。"
        "置信区间反映换用同类图片时指标的波动范围，不代表在其他相机、医院或患者上的表现。"
    ),
    # Its confusion matrix and plots.
    "truly": "真实类别",
    "called {name}": "判为{name}",
    "How many pictures of each true class were given which answer.": (
        "各真实类别的图片被判为各个类别的数量。"
    ),
    "What every threshold would find (up) and wrongly report (right).": (
        "各阈值下的检出比例（纵轴）与误报比例（横轴）。"
    ),
    "In {bins} equal bins: the probability of the most probable class, and how "
    "often it is the true one, with 95 % intervals.": (
        "把概率等分为 {bins} 个区间：各区间中概率最大的类别的概率，"
        "与该类别确为真实类别的比例（及其 95% 置信区间）。"
    ),
    "How the probabilities of each true class are distributed.": "各真实类别的预测概率分布。",
    "At every threshold, the share of reports that is right (up) and of positives that is found "
    "(right). Dotted: the share of positives.": (
        "各阈值下判为阳性的图片中判断正确的比例（纵轴）与阳性图片的检出比例（横轴）。"
        "点线为阳性图片所占比例。"
    ),
    "Decision curve: what acting on the model's answers is worth, in finds a picture less the "
    "price of wrong alarms, by the probability from which one acts (Vickers & Elkin 2006). The "
    "model is of use where its curve is the highest.": (
        "决策曲线：按采取干预的概率阈值，依据模型判断采取干预的净获益，"
        "即每张图片的真阳性数减去误报的代价（Vickers 和 Elkin，2006）。"
        "曲线最高的区间内，使用本模型是有益的。"
    ),
    # Its worst pictures.
    "called so": "判断正确",
    "picture": "图片",
    "map": "激活图",
    "{file}: truly {name}, which was given the probability {probability:.3g}; {verdict}": (
        "{file}：真实类别为{name}，模型给出的概率为 {probability:.3g}；{verdict}"
    ),
    "The {count} pictures whose true class was given the least probability, the "
    "worst first, each as the network sees it. Beside it, the class activation map of the true "
    "class: red where the picture speaks most for it, blue where least, whatever the class's "
    "probability is.": (
        "真实类别所得概率最低的 {count} 张图片，由低到高排列，均为网络实际看到的画面。"
        "旁边是真实类别的类激活图：红色处最支持该类别，蓝色处最不支持，颜色与该类别概率的高低无关。"
    ),
    # What is wrong with the data: printed by `check`, and on the page.
    "same pixels": "像素完全相同",
    "look the same": "看起来相同",
    ", WITH DIFFERENT LABELS": "，但标签不同",
    "{kind}{labels}: {first} ({first_set}), {second} ({second_set})": (
        "{kind}{labels}：{first}（{first_set}），{second}（{second_set}）"
    ),
    "{name} set, {count} pictures: {shares}": "{name}，{count} 张图片：{shares}",
    "{name}: {count} ({share:.0%})": "{name}：{count} 张（{share:.0%}）",
    "  uneven: one class has {most} pictures, another {least}": (
        "  类别不均衡：一个类别有 {most} 张图片，另一个只有 {least} 张"
    ),
    "in both training and validation set": "同时出现在训练集和验证集中的图片",
    "in two of the sets": "同时出现在两个集合中的图片",
    "groups in two of the sets": "同时出现在两个集合中的分组（例如同一人）",
    "duplicates within a set": "同一集合内的重复图片",
    "unreadable files": "无法读取的文件",
    "{what}: {count}": "{what}：{count}",
    "none": "无",
    "  and {count} more": "  另有 {count} 项",
}
