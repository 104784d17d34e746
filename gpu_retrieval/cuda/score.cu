// Scores from codes, none of them written out: the best of each group of 32 places (`best_of_groups`), then, of the
// groups that can hold one of the k best, the places that can themselves (`collect`).
//
// Codes are float16 or int8, (rows, 32 * n_steps), a row's zeros at its end; a row's numbers are its codes times
// `scale` (rows,). `prior` (rows,) float32 may be null. Both kernels run twice, once a type of code.

// Eight neighbouring codes as four words of two float16.
__device__ inline uint4 eight_codes(const u16* codes) { return *(const uint4*)codes; }
__device__ inline uint4 eight_codes(const i8* codes) {
    uint2 raw = *(const uint2*)codes;
    const i8* c = (const i8*)&raw;
    uint4 words;
    words.x = pack_halves(c[0], c[1]), words.y = pack_halves(c[2], c[3]);
    words.z = pack_halves(c[4], c[5]), words.w = pack_halves(c[6], c[7]);
    return words;
}

// Words of a query's row in shared memory: an odd multiple of 16, so that the rows that eight lanes read together
// lie in different banks.
__device__ inline int factor_stride(int n_steps) { return 16 * (n_steps | 1); }

// best[word] of every group of every tile: the greatest score of the places in the query's mask, -inf for none.
// `queries` (batch, 16 * n_steps) words of two float16, which stand for numbers `query_scale` (batch,) as large.
//
// A block an item, a warp a group: 16 queries x 32 jobs in four products of 16 x 8, summed over 32 components a
// step. The components of a step are taken in an order of our own, the same for both factors, in which a lane's
// eight are neighbours: one load of 16 bytes. Jobs that no query of the tile wants are not read.
template <class Code>
__device__ void best_of_groups(const Tile* tiles, int n_tiles, const int* rows, const u32* mask, const Code* codes,
                               const float* scale, const float* prior, const u32* queries, const float* query_scale,
                               int n_steps, float* best) {
    DYNAMIC_SHARED(u32, factors);
    Tile tile = tile_of(tiles, n_tiles, blockIdx.x);
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, stride = factor_stride(n_steps), width = 16 * n_steps;
    for (int i = threadIdx.x; i < TILE_QUERIES * width; i += blockDim.x) {
        int query = i / width, word = i % width;
        factors[query * stride + word] = query < tile.n_queries ? queries[(tile.query + query) * width + word] : 0;
    }
    __syncthreads();
    float scale_low = g < tile.n_queries ? query_scale[tile.query + g] : 0;
    float scale_high = g + 8 < tile.n_queries ? query_scale[tile.query + g + 8] : 0;
    i64 first = (blockIdx.x - tile.item) * ITEM_GROUPS, stop = min(first + ITEM_GROUPS, tile.n_groups);
    for (i64 group = first + threadIdx.x / 32; group < stop; group += blockDim.x / 32) {
        u32 own = lane < tile.n_queries ? mask[tile.word + lane * tile.n_groups + group] : 0;
        u32 wanted = __reduce_or_sync(WHOLE_WARP, own);
        int own_row = wanted >> lane & 1 ? row_at(rows, tile, group * GROUP + lane) : -1;
        float own_scale = own_row >= 0 ? scale[own_row] : 0, own_prior = own_row >= 0 && prior ? prior[own_row] : 0;
        const Code* job[4];
        float sums[4][4] = {};
        for (int j = 0; j < 4; j++) {
            int row = __shfl_sync(WHOLE_WARP, own_row, 8 * j + g);
            job[j] = row >= 0 ? codes + (i64)row * 32 * n_steps + 8 * t : nullptr;
        }
        for (int step = 0; wanted && step < n_steps; step++) {
            uint4 low = *(const uint4*)(factors + g * stride + 16 * step + 4 * t);
            uint4 high = *(const uint4*)(factors + (g + 8) * stride + 16 * step + 4 * t);
            u32 front[4] = {low.x, high.x, low.y, high.y}, back[4] = {low.z, high.z, low.w, high.w};
            for (int j = 0; j < 4; j++) {
                uint4 part = {0, 0, 0, 0};
                if (job[j]) part = eight_codes(job[j] + 32 * step);
                multiply_add(sums[j], front, part.x, part.y);
                multiply_add(sums[j], back, part.z, part.w);
            }
        }
        u32 mask_low = __shfl_sync(WHOLE_WARP, own, g), mask_high = __shfl_sync(WHOLE_WARP, own, g + 8);
        float best_low = NOTHING, best_high = NOTHING;
        for (int j = 0; j < 4; j++) {
            for (int side = 0; side < 2; side++) {
                int column = 2 * t + side, place = 8 * j + column;
                float of_job = __shfl_sync(WHOLE_WARP, own_scale, place);
                float more = __shfl_sync(WHOLE_WARP, own_prior, place);
                float low = sums[j][side] * scale_low * of_job + more;
                float high = sums[j][2 + side] * scale_high * of_job + more;
                if (mask_low >> place & 1) best_low = fmaxf(best_low, low);
                if (mask_high >> place & 1) best_high = fmaxf(best_high, high);
            }
        }
        for (int apart = 1; apart < 4; apart *= 2) {
            best_low = fmaxf(best_low, __shfl_xor_sync(WHOLE_WARP, best_low, apart));
            best_high = fmaxf(best_high, __shfl_xor_sync(WHOLE_WARP, best_high, apart));
        }
        if (t == 0 && g < tile.n_queries) best[tile.word + g * tile.n_groups + group] = best_low;
        if (t == 0 && g + 8 < tile.n_queries) best[tile.word + (g + 8) * tile.n_groups + group] = best_high;
    }
}

// A word of codes times the numbers of the query that it meets.
__device__ inline float word_product(u32 word, const float* query, const u16*) {
    return half_to_float(word & 0xffff) * query[0] + half_to_float(word >> 16) * query[1];
}
__device__ inline float word_product(u32 word, const float* query, const i8*) {
    const i8* c = (const i8*)&word;
    return c[0] * query[0] + c[1] * query[1] + c[2] * query[2] + c[3] * query[3];
}

// Appends to found_rows and found_scores, (batch, capacity), what each query may still want: places of its mask
// whose score is not below `limits` (batch,), which lie in groups whose best is not. `n_found` (batch,) counts
// past the capacity, where nothing is written. `queries` (batch, 32 * n_steps) float32.
// A block an item, a warp a query: first a lane a group, then all lanes one job after another. Of few queries, several
// warps share one: results that are neighbours would keep a single warp busy for long.
template <class Code>
__device__ void collect(const Tile* tiles, int n_tiles, const int* rows, const u32* mask, const float* best,
                        const Code* codes, const float* scale, const float* prior, const float* queries, int n_steps,
                        const float* limits, i64 capacity, u32* n_found, int* found_rows, float* found_scores) {
    constexpr int A_WORD = 4 / sizeof(Code);
    Tile tile = tile_of(tiles, n_tiles, blockIdx.x);
    int lane = threadIdx.x % 32, width = 32 * n_steps;
    i64 first = (blockIdx.x - tile.item) * ITEM_GROUPS;
    int n_sharing = max(1, (int)(blockDim.x / 32 / tile.n_queries));
    for (int of_all = threadIdx.x / 32; of_all < tile.n_queries * n_sharing; of_all += blockDim.x / 32) {
        int i = of_all / n_sharing, share = of_all % n_sharing;
        i64 query = tile.query + i, word = tile.word + i * tile.n_groups + first + lane;
        float limit = limits[query];
        bool looks = lane % n_sharing == share && first + lane < tile.n_groups;
        u32 own = looks && best[word] >= limit ? mask[word] : 0;
        for (u32 hot = __ballot_sync(WHOLE_WARP, own != 0); hot; hot &= hot - 1) {
            int group = __ffs(hot) - 1, own_row = -1;
            u32 places = __shfl_sync(WHOLE_WARP, own, group);
            float own_score = NOTHING;
            for (u32 left = places; left; left &= left - 1) {
                int place = __ffs(left) - 1, row = row_at(rows, tile, (first + group) * GROUP + place);
                const u32* words = (const u32*)(codes + (i64)row * width);
                float score = 0;
                for (int at = lane; at < width / A_WORD; at += 32)
                    score += word_product(words[at], queries + query * width + at * A_WORD, codes);
                for (int apart = 16; apart; apart /= 2) score += __shfl_xor_sync(WHOLE_WARP, score, apart);
                score = score * scale[row] + (prior ? prior[row] : 0);
                if (lane == place) own_row = row, own_score = score;
            }
            u32 kept = __ballot_sync(WHOLE_WARP, own_row >= 0 && own_score >= limit), slot = 0;
            if (lane == 0) slot = atomicAdd(n_found + query, (u32)__popc(kept));
            slot = __shfl_sync(WHOLE_WARP, slot, 0) + __popc(kept & ((1u << lane) - 1));
            if (kept >> lane & 1 && slot < capacity) {
                found_rows[query * capacity + slot] = own_row;
                found_scores[query * capacity + slot] = own_score;
            }
        }
    }
}

#define FOR_CODES(Code, name)                                                                                         \
    KERNEL(256, 3) void best_of_groups_##name(                                                                        \
        const Tile* tiles, int n_tiles, const int* rows, const u32* mask, const Code* codes, const float* scale,      \
        const float* prior, const u32* queries, const float* query_scale, int n_steps, float* best) {                 \
        best_of_groups(tiles, n_tiles, rows, mask, codes, scale, prior, queries, query_scale, n_steps, best);         \
    }                                                                                                                 \
    KERNEL(256) void collect_##name(                                                                                  \
        const Tile* tiles, int n_tiles, const int* rows, const u32* mask, const float* best, const Code* codes,       \
        const float* scale, const float* prior, const float* queries, int n_steps, const float* limits, i64 capacity, \
        u32* n_found, int* found_rows, float* found_scores) {                                                         \
        collect(tiles, n_tiles, rows, mask, best, codes, scale, prior, queries, n_steps, limits, capacity, n_found,   \
                found_rows, found_scores);                                                                            \
    }
FOR_CODES(u16, float16)
FOR_CODES(i8, int8)
