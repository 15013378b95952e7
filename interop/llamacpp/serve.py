"""llama.cpp's own HTTP server on a model file. Prints its base URL, runs until its standard input is closed.

    python serve.py MODEL.gguf [--slots N] [--threads N] [--context N]
"""
import argparse
import sys

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--slots", type=int, default=1)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--context", type=int, default=2048)
options = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = options.model
params.n_ctx = options.context * options.slots
params.n_parallel = options.slots
params.cpuparams.n_threads = options.threads
params.cpuparams_batch.n_threads = options.threads
params.hostnames = ["127.0.0.1"]
params.port = 0
params.ui = False
server = xllamacpp.Server(params)
print(server.listening_address + "/v1", flush=True)
sys.stdin.read()
