#pragma once
// Every cell of the library, one line each. Sizes, kernels, bindings, tests and benchmarks loop
// over this list; a cell's place in it is its id.
#include "cells/gru.h"
#include "cells/gru_reset_before.h"
#include "cells/lstm.h"
#include "cells/mut3.h"
#include "cells/nas.h"
#include "cells/rnn.h"

namespace rnnfast {

template <class... Cell>
struct TypeList {
  static constexpr int size = sizeof...(Cell);
};

using Cells = TypeList<RnnTanh, RnnRelu, Lstm, PeepholeLstm, Gru, GruResetBefore, Mut3, Nas>;

}  // namespace rnnfast
