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
  static_assert((is_well_formed(Cell::info) && ...), "see cell.h");
};

// The type at an index of a list.
template <int kPlace, class First, class... Rest>
auto cell_at(TypeList<First, Rest...>) {
  if constexpr (kPlace == 0)
    return First{};
  else
    return cell_at<kPlace - 1>(TypeList<Rest...>{});
}

template <class... Cell>
inline const CellInfo& info_of(TypeList<Cell...>, int cell) {
  static constexpr CellInfo infos[] = {Cell::info...};
  return infos[cell];
}

using Cells = TypeList<RnnTanh, RnnRelu, Lstm, PeepholeLstm, Gru, GruResetBefore, Mut3, Nas>;

template <int kPlace>
using CellAt = decltype(cell_at<kPlace>(Cells{}));

inline const CellInfo& cell_info(int cell) { return info_of(Cells{}, cell); }  // by its place

}  // namespace rnnfast
