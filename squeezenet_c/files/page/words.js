// What the page says: in English where it is used, in Chinese by this table.
"use strict";

const CHINESE = {
  "What does the picture show?": "图片属于哪一类？",
  "This model (SqueezeNet v{version}) tells {count} classes of pictures apart: {names}.":
    "本模型（SqueezeNet v{version}）把图片分为 {count} 类：{names}。",
  ", ": "、",
  "and {count} more": "以及另外 {count} 类",
  "Teaching material, not a medical device.": "仅供教学使用，不是医疗器械。",
  "No answer is a diagnosis: whoever worries about their eyes should see a doctor.":
    "结果不是诊断；如对眼睛有疑虑，请就医。",
  "Choose pictures": "选择图片",
  "or drop them here": "或拖放到此处",
  "They are looked at in this page, without a network: no picture leaves your machine.":
    "图片只在本页面内处理，不经过网络，不会离开您的设备。",
  "{done} of {count}": "{done} / {count}",
  "little evidence": "证据少",
  much: "证据多",
  "Activation map": "激活图",
  Confidence: "置信度",
  Probabilities: "各类别概率",
  "{name} is the answer where its probability is at least {threshold}.":
    "{name}的概率不低于 {threshold} 时判为该类。",
  "The answer is the class of the largest probability.": "结果为概率最大的类别。",
  "The map shows where in the picture the evidence for {name} is: red most, blue least.":
    "激活图显示图片中支持“{name}”的证据所在：红色最多，蓝色最少。",
  "All pictures": "全部图片",
  "Save as CSV": "保存为 CSV",
  Clear: "清空",
  File: "文件",
  Answer: "结果",
  waiting: "等待中",
  "{file} with the activation map of {name}": "{file}，叠加“{name}”的激活图",
  "{count} pictures answered.": "已得出 {count} 张图片的结果。",
  "1 picture answered.": "已得出 1 张图片的结果。",
  "Not answered: {files}": "未得出结果：{files}",
  "no picture that this browser can read": "此浏览器无法将其读取为图片",
  "too large for this browser": "对此浏览器来说过大",
  "partly transparent, and this browser cannot read its colours":
    "部分透明，此浏览器无法读取其颜色",
  "not answered: {reason}": "未得出结果：{reason}",
  "This browser cannot run the model: it needs WebAssembly with SIMD, and DecompressionStream, as Chrome 97, Firefox 113 and Safari 16.4 have. ({reason})":
    "此浏览器无法运行本模型：需要支持 SIMD 的 WebAssembly 以及 DecompressionStream（Chrome 97、Firefox 113、Safari 16.4 或更新版本）。（{reason}）",
  "Made by squeezenet_c {made}.": "由 squeezenet_c {made} 生成。",
};

let language = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";

// A text in the language, with values at its {places}.
function say(text, values = {}) {
  const said = language === "zh" ? CHINESE[text] : text;
  return said.replace(/\{(\w+)\}/g, (place, name) => values[name]);
}

// A share, with two decimals.
function percent(share) {
  return `${(100 * share).toFixed(2)}%`;
}
