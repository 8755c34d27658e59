#!/bin/sh
# Train the models on which the verdict of `uddm probe` is calibrated (fit) and judged (held-out).
#   sh tests/audit/calibration/make.sh OUT [NAME ...]
# Sweeps that are finished are not repeated. A NAME such as fit-letters trains that sweep alone.
set -eu
here=$(dirname "$0") out=$1
shift
chosen=" $* "

train() { # name, then the arguments of the sweep
    name=$1
    shift
    case $chosen in "  " | *" $name "*) uddm sweep "$@" --out "$out/$name" --jobs 1 ;; esac
}
letters() { name=$1; shift; train "$name" -c quickstart -c "$here/common.yaml" "$@"; }
chain() { name=$1; shift; train "$name" -c markov -c "$here/common.yaml" "$@"; }

width=--model.backbone.init_args.hidden_size
blocks=--model.backbone.init_args.n_blocks
pieces=--data.tokenizer.init_args.vocab_size
alphabet=--data.source.init_args.alphabet
sharpness=--data.source.init_args.sharpness
known=--data.tokenizer.init_args.alphabet

few="$alphabet abcdefgh $known abcdefgh $sharpness 3.0 --seeds 5"
many="$alphabet abcdefghijklmnopqrstuvwxyz $known abcdefghijklmnopqrstuvwxyz $sharpness 1.5 $blocks 3 --seeds 2"
brief="--trainer.max_steps 600 --trainer.val_check_interval 200"
often="--trainer.val_check_interval 100"
eight="$alphabet abcdefgh $known abcdefgh $sharpness 2.5 $width 64 --seeds 7"
steady="--trainer.val_check_interval 150"
length=--data.packing.init_args.length
files=--data.source.init_args.paths
python="[$here/../../../uddm_lightning/**/*.py]"
twelve="$alphabet abcdefghijkl $known abcdefghijkl $sharpness 2.2 $width 56 --seeds 11"

letters fit-brief -c "$here/small.yaml" --sizes 4,12,48,160 $brief
letters fit-letters-small -c "$here/small.yaml" --sizes 4,16,64
letters fit-letters-large --sizes 256,1024,8192
letters fit-short -c "$here/short.yaml" --sizes 12,8192
chain fit-chain-small -c "$here/small.yaml" --sizes 4,16,64,256
chain fit-chain-large $brief --sizes 8192
letters held-letters-small -c "$here/small.yaml" $width 40 --seeds 1 $brief --sizes 3,8,96
letters held-letters-large $width 40 --seeds 1 $brief --sizes 2500,6000
letters held-short -c "$here/short.yaml" $width 64 --seeds 1 --trainer.max_steps 80 --trainer.val_check_interval 40 --sizes 8,64,5000
letters fit-words-small -c "$here/small.yaml" -c "$here/words.yaml" $pieces 300 $brief --sizes 4,64
letters fit-words-large -c "$here/words.yaml" $pieces 300 $brief --sizes 8192
chain held-many-small -c "$here/small.yaml" $many $brief $often --sizes 3,9,100
chain held-many-large $many $brief --sizes 5000
letters held-words-small -c "$here/small.yaml" -c "$here/words.yaml" $pieces 500 --seeds 3 $brief --sizes 3,100
chain held-few-large $few $brief --sizes 3000
letters held-cased-small -c "$here/small.yaml" -c "$here/cased.yaml" $width 64 --seeds 4 $brief $often --sizes 2,7,128
letters held-words-large -c "$here/words.yaml" $pieces 500 --seeds 3 $brief --sizes 8000
letters held-cased-large -c "$here/cased.yaml" $width 64 --seeds 4 $brief --sizes 5000
chain held-few-small -c "$here/small.yaml" $few $brief $often --sizes 3,60
chain fit-eight-small -c "$here/small.yaml" $eight $brief $often --sizes 2,5,40
chain held-twelve-large $twelve $brief $steady --sizes 2000,6000
chain held-twelve-small -c "$here/small.yaml" $twelve $brief $steady --sizes 3,10,80
letters held-code-small -c "$here/small.yaml" -c "$here/code.yaml" $files "$python" $brief $steady --seeds 12 --sizes 4,16
letters held-half-small -c "$here/small.yaml" $length 16 $width 40 --seeds 13 $brief $steady --sizes 5,20
letters held-half-large $length 16 $width 40 --seeds 13 $brief $steady --sizes 4000
