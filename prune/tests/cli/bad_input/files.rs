//! Files and folders that are not what they should be.

use super::{Case, case};
use crate::TINY;

pub(super) const CASES: &[Case] = &[
    // Networks.
    case(&["inspect", ""], 2, &["\"\" is neither a file nor a model"]),
    case(&["inspect", "/dev/null"], 1, &["cannot read /dev/null: not a regular file"]),
    case(
        &["inspect", "full/notes.txt"],
        2,
        &["full/notes.txt is no safetensors file, nor what torch.save writes, nor an ONNX model"],
    ),
    case(&["inspect", "type.safetensors"], 1, &["type.safetensors: at byte ", "F33"]),
    case(&["inspect", "garbage.onnx"], 1, &["garbage.onnx: ", "this is no ONNX model"]),
    case(&["inspect", "vgg16:"], 2, &["width 1 of vgg16 is \"\""]),
    case(&["inspect", "vgg-small:8,8,12,12,16,x"], 2, &["width 6 of vgg-small is \"x\""]),
    case(
        &["inspect", "vgg-small:8,8,12,12,16,999999999999"],
        2,
        &["vgg-small cannot be built for images of [3, 32, 32]", "more than 2^28 values"],
    ),
    case(&["inspect", "vgg16:8,99999999999999999999"], 2, &["width 2 of vgg16"]),
    case(&["eval", "garbage.onnx"], 1, &["garbage.onnx: "]),
    case(&["bench", TINY, "type.safetensors"], 1, &["type.safetensors: "]),
    case(&["bench", "vgg17"], 2, &["neither a file nor a model"]),
    case(&["prune", "type.safetensors", "--macs", "2x", "-o", "run"], 1, &["type.safetensors: "]),
    case(&["prune", "vgg17", "--macs", "2x", "-o", "run"], 2, &["neither a file nor a model"]),
    case(&["import", "full", "-o", "net"], 1, &["cannot read full: Is a directory"]),
    case(&["import", "vgg16", "-o", "net"], 1, &["vgg16: there is no such file"]),
    case(&["import", "garbage.onnx", "-o", "net"], 1, &["this is no ONNX model"]),
    case(&["import", "small.npy", "-o", "net"], 2, &["small.npy is no safetensors file"]),
    case(
        &["import", "plain.safetensors", "--arch", "vgg-small", "-o", "net"],
        1,
        &["the weights do not fit vgg-small", "features.0.weight", "more like this"],
    ),
    case(&["export", "vgg17", "--format", "onnx", "-o", "net"], 2, &["neither a file nor a model"]),
    case(&["export", "cut.pth", "--format", "onnx", "-o", "net"], 1, &["cut.pth: at byte 4"]),
    case(
        &["export", TINY, "--format", "onnx", "-o", "notes.toml"],
        2,
        &["notes.toml is there already", "--force"],
    ),
    case(
        &["export", TINY, "--format", "onnx", "-o", "nowhere/net.onnx"],
        1,
        &["cannot write nowhere/net.onnx: there is no folder nowhere"],
    ),
    case(
        &["reproduce", "T1", "--base", "none.pth", "-o", "run"],
        1,
        &["none.pth: there is no such"],
    ),
    case(&["reproduce", "T1", "--base", "cut.pth", "-o", "run"], 1, &["cut.pth: at byte 4"]),
    // Images and logits.
    case(
        &["eval", TINY, "--input", "small.npy", "--logits", "l.npy"],
        2,
        &["vgg-small cannot be built for images of [1, 2, 2]"],
    ),
    case(
        &["eval", TINY, "--input", "short.npy", "--logits", "l.npy"],
        1,
        &["short.npy: at byte ", "expected", "found"],
    ),
    case(&["eval", TINY, "--input", "full", "--logits", "l.npy"], 1, &["full: not a regular file"]),
    case(&["eval", TINY, "--logits", "full", "--force"], 1, &["cannot write full"]),
    case(
        &["eval", TINY, "--logits", "nowhere/l.npy"],
        1,
        &["cannot write nowhere/l.npy: there is no"],
    ),
    // Data.
    case(&["data", "info", "nowhere"], 1, &["nowhere: No such file"]),
    case(&["data", "verify", "nowhere"], 1, &["nowhere: No such file"]),
    case(&["data", "verify", "full"], 1, &["full: expected the files of cifar-10"]),
    case(
        &["data", "verify", "empty.onnx"],
        1,
        &["empty.onnx: at byte 0", "found a file of 0 bytes"],
    ),
    case(&["eval", "notes.toml"], 2, &["notes.toml is no safetensors file, nor what torch.save"]),
    case(&["eval", TINY, "--data", "notes.toml"], 1, &["notes.toml: at byte 0", "found the bytes"]),
    case(&["bench", TINY, "--data", "nowhere"], 1, &["nowhere: No such file"]),
    case(&["train", "--model", TINY, "--data", "nowhere", "-o", "run"], 1, &["nowhere: No such"]),
    case(
        &["prune", TINY, "--macs", "2x", "--data", "nowhere", "-o", "run"],
        1,
        &["nowhere: No such"],
    ),
    case(&["reproduce", "T1", "--data", "nowhere", "-o", "run"], 1, &["nowhere: No such file"]),
    // Runs.
    case(&["train", "--model", TINY, "-o", "notes.toml"], 2, &["expected a folder, found a file"]),
    case(&["train", "--model", TINY, "-o", "notes.toml/x"], 1, &["cannot make notes.toml/x"]),
    case(
        &["train", "--model", TINY, "-o", "notes.toml/x", "-n"],
        2,
        &["notes.toml: expected a folder, found a file"],
    ),
    case(
        &["train", "--model", TINY, "--teacher", TINY, "-o", "run"],
        2,
        &["is a model with random weights"],
    ),
    case(&["train", "-c", "nowhere.toml", "-o", "run"], 1, &["cannot read nowhere.toml"]),
    case(&["train", "--resume", "study"], 2, &["study/run.toml is no settings file of train"]),
    case(&["train", "--resume", "broken"], 2, &["broken/run.toml is no settings file of train"]),
    case(&["prune", "--resume", "study"], 2, &["study/run.toml is no settings file of prune"]),
    case(&["prune", "--resume", "broken"], 2, &["broken/run.toml is no settings file of prune"]),
    case(&["reproduce", "T1", "-o", "full"], 2, &["full is not empty", "--force"]),
    case(&["reproduce", "--resume", "nowhere"], 2, &["nowhere: there is no such run"]),
    case(&["reproduce", "--resume", "full"], 2, &["full has no run.toml: there is nothing"]),
    case(
        &["reproduce", "--resume", "study"],
        2,
        &["study/run.toml is no settings file", "`tables`"],
    ),
    case(&["reproduce", "--resume", "broken"], 2, &["broken/run.toml is no settings file"]),
];
